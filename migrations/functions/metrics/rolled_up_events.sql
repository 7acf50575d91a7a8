-- The rolled-up events from p_from to p_to (exclusive) that match the filter. With a filter for users or participants, only their
-- sessions are searched.
CREATE OR REPLACE FUNCTION muster.rolled_up_events(p_project_id uuid, p_watermark bigint, p_from timestamptz, p_to timestamptz,
    p_filter jsonb)
RETURNS TABLE (occurred_at timestamptz, session_id uuid, user_id text, event_type text, area text, data jsonb)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF p_filter ? 'participantType' THEN
        RETURN QUERY SELECT e.occurred_at, e.session_id, e.user_id, e.event_type, e.area, e.data
          FROM muster.participant_events(p_project_id, p_watermark, p_from, p_to, p_filter) e;
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format('SELECT e.occurred_at, e.session_id, e.user_id, e.event_type, e.area, e.data FROM %s
         WHERE e.project_id = $1 AND e.xid < $2 AND e.occurred_at >= $3 AND e.occurred_at < $4
           AND muster.matches_filter($5, e.event_type, e.area, e.user_id, NULL, e.data)',
        CASE WHEN p_filter ? 'userId' THEN
            '(SELECT DISTINCT u.session_id FROM muster.rollup_user_sessions u
               WHERE u.project_id = $1 AND u.user_id IN (SELECT jsonb_array_elements_text($5 -> ''userId''))) u
             CROSS JOIN LATERAL (SELECT * FROM muster.analytics_events x
                                  WHERE x.project_id = $1 AND x.session_id = u.session_id OFFSET 0) e'
        ELSE 'muster.analytics_events e' END)
        USING p_project_id, p_watermark, p_from, p_to, p_filter;
END
$$;

GRANT EXECUTE ON FUNCTION muster.rolled_up_events TO muster_reader, muster_admin;
