-- The status of the decision in force for a user or a session: granted, denied or withdrawn; null if there is none.
CREATE OR REPLACE FUNCTION muster.consent_status(p_project_id uuid, p_user_id text, p_session_id uuid) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT d.status FROM muster.latest_decision(p_project_id, p_user_id, p_session_id) d
$$;
