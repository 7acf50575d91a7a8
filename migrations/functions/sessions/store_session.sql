-- Creates or updates a session.
-- p_change: {"userId", "startedAt", "endedAt", "context", "browser", "sequence", "dropped"}, each optional.
-- Returns the session. If it has another user, changes nothing and returns {"refused": "session_belongs_to_another_user"}.
CREATE OR REPLACE FUNCTION muster.store_session(p_project_id uuid, p_session_id uuid, p_change jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    v_project muster.projects;
    v_user_id CONSTANT text := p_change ->> 'userId';
    v_created boolean;
    v_session muster.analytics_sessions;
BEGIN
    SELECT * INTO STRICT v_project FROM muster.projects WHERE id = p_project_id;
    v_created := muster.upsert_session(
        p_project_id, v_project.identifies_backwards, p_session_id, v_user_id, (p_change ->> 'startedAt')::timestamptz,
        (p_change ->> 'endedAt')::timestamptz, (p_change ->> 'endedAt')::timestamptz, 0, (p_change ->> 'sequence')::integer,
        (p_change ->> 'dropped')::bigint, NULL, p_change ->> 'browser', coalesce(p_change -> 'context', '{}'));
    SELECT * INTO STRICT v_session FROM muster.analytics_sessions WHERE project_id = p_project_id AND id = p_session_id;
    IF v_session.user_id <> v_user_id THEN
        RAISE EXCEPTION USING ERRCODE = 'MU001', MESSAGE = 'rolled back';
    END IF;
    IF v_user_id IS NOT NULL AND v_project.has_decisions THEN
        PERFORM muster.carry_over_consent(p_project_id, ARRAY[p_session_id], ARRAY[v_user_id]);
    END IF;
    RETURN muster.session_json(v_session, v_created);
EXCEPTION WHEN SQLSTATE 'MU001' THEN
    RETURN '{"refused": "session_belongs_to_another_user"}';
END
$$;
