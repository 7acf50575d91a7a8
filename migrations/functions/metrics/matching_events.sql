-- The raw events from p_start to p_end (exclusive) that match the filter, which may also have "sessionId".
-- The planner inlines this function.
CREATE OR REPLACE FUNCTION muster.matching_events(p_project_id uuid, p_start timestamptz, p_end timestamptz, p_filter jsonb)
RETURNS SETOF muster.analytics_events
LANGUAGE sql STABLE AS $$
    SELECT e.* FROM muster.analytics_events e
     WHERE e.project_id = p_project_id AND e.occurred_at >= p_start AND e.occurred_at < p_end
       AND (p_filter -> 'sessionId' IS NULL
            OR e.session_id = ANY (ARRAY(SELECT jsonb_array_elements_text(p_filter -> 'sessionId')::uuid)))
       AND (p_filter -> 'participantType' IS NULL OR e.session_id IN (
            SELECT p.session_id FROM muster.participant_sessions(p_project_id, p_filter -> 'participantType') p))
       AND muster.matches_filter(p_filter - 'participantType', e.event_type, e.area, e.user_id, NULL, e.data)
$$;

GRANT EXECUTE ON FUNCTION muster.matching_events TO muster_reader, muster_admin;
