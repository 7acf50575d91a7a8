-- Whether an event matches a metrics filter. Every statement that reads events uses this predicate.
-- p_filter: {"eventType": [text…], "area": […], "userId": […], "participantType": […], "data": {key: [text…]}}, each optional. An
-- event must have one of the values of each filter. The planner inlines this function.
CREATE OR REPLACE FUNCTION muster.matches_filter(p_filter jsonb, p_event_type text, p_area text, p_user_id text,
                                                 p_participant_type text, p_data jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT p_filter = '{}' OR (
        (p_filter -> 'eventType' IS NULL OR p_filter -> 'eventType' ? p_event_type)
        AND (p_filter -> 'area' IS NULL OR p_filter -> 'area' ? p_area)
        AND (p_filter -> 'userId' IS NULL OR coalesce(p_filter -> 'userId' ? p_user_id, false))
        AND (p_filter -> 'participantType' IS NULL OR coalesce(p_filter -> 'participantType' ? p_participant_type, false))
        AND (p_filter -> 'data' IS NULL OR muster.matches_data(p_filter -> 'data', p_data)))
$$;

GRANT EXECUTE ON FUNCTION muster.matches_filter TO muster_reader, muster_admin;
