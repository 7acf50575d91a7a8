-- An event's value for a breakdown. p_breakdown: eventType, area, userId, participantType or data.<key>.
-- The planner inlines this function.
CREATE OR REPLACE FUNCTION muster.breakdown_value(p_breakdown text, p_event_type text, p_area text, p_user_id text,
                                                  p_participant_type text, p_data jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE p_breakdown WHEN 'eventType' THEN p_event_type WHEN 'area' THEN p_area WHEN 'userId' THEN p_user_id
                WHEN 'participantType' THEN p_participant_type ELSE p_data ->> substr(p_breakdown, 6) END
$$;

GRANT EXECUTE ON FUNCTION muster.breakdown_value TO muster_reader, muster_admin;
