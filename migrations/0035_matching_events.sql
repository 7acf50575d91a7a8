-- The raw events that pass the filters of a request, written once: the planner puts it in the place of its call.
CREATE FUNCTION muster.matching_events(p_project_id uuid, p_start timestamptz, p_end timestamptz, p_session_ids uuid[], p_event_types text[],
    p_areas text[], p_user_ids text[], p_participant_types text[], p_data jsonb) RETURNS SETOF muster.analytics_events
LANGUAGE sql STABLE AS $$
    SELECT e.* FROM muster.analytics_events e
     WHERE e.project_id = p_project_id AND e.occurred_at >= p_start AND e.occurred_at < p_end
       AND (p_session_ids IS NULL OR e.session_id = ANY (p_session_ids))
       AND (p_event_types IS NULL OR e.event_type = ANY (p_event_types))
       AND (p_areas IS NULL OR e.area = ANY (p_areas))
       AND (p_user_ids IS NULL OR e.user_id = ANY (p_user_ids))
       AND (p_participant_types IS NULL OR e.session_id IN (
            SELECT p.session_id FROM muster.participant_sessions(p_project_id, p_participant_types) p))
       AND (p_data = '[]' OR (SELECT bool_and(coalesce(e.data ->> f.key = ANY (f.wanted), false))
                                FROM jsonb_to_recordset(p_data) AS f(key text, wanted text[])))
$$;
GRANT EXECUTE ON FUNCTION muster.matching_events, muster.session_json TO muster_reader, muster_admin;
