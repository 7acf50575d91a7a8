-- The user of a session; null if the session has no user, or if its batches name several users.
CREATE OR REPLACE FUNCTION muster.user_of_session(p_project_id uuid, p_session_id uuid) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT s.user_id FROM muster.analytics_sessions s WHERE s.project_id = p_project_id AND s.id = p_session_id AND s.user_conflicts = 0
$$;
