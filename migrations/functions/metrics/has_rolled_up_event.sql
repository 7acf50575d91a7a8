-- Whether a session has a rolled-up event from p_from to p_to (exclusive) with this value of the breakdown.
CREATE OR REPLACE FUNCTION muster.has_rolled_up_event(p_project_id uuid, p_watermark bigint, p_session_id uuid, p_from timestamptz,
    p_to timestamptz, p_breakdown text, p_value text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM muster.analytics_events e
         WHERE e.project_id = p_project_id AND e.session_id = p_session_id AND e.xid < p_watermark
           AND e.occurred_at >= p_from AND e.occurred_at < p_to
           AND muster.breakdown_value(p_breakdown, e.event_type, e.area, e.user_id, NULL, e.data) IS NOT DISTINCT FROM p_value);
END
$$;

GRANT EXECUTE ON FUNCTION muster.has_rolled_up_event TO muster_reader, muster_admin;
