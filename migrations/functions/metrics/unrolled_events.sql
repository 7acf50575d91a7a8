-- The unrolled events. This is a function to force the plan for few events: the planner does not know how few there are, and would
-- read all events.
CREATE OR REPLACE FUNCTION muster.unrolled_events(p_project_id uuid, p_watermark bigint)
RETURNS TABLE (occurred_at timestamptz, session_id uuid, user_id text, event_type text, area text, data jsonb)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY SELECT e.occurred_at, e.session_id, e.user_id, e.event_type, e.area, e.data
      FROM muster.analytics_events e WHERE e.project_id = p_project_id AND e.xid >= p_watermark;
END
$$;

GRANT EXECUTE ON FUNCTION muster.unrolled_events TO muster_reader, muster_admin;
