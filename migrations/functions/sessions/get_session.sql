-- GET /v1/sessions/{sessionId}: returns the session with its participant type, or {"refused"}.
CREATE OR REPLACE FUNCTION muster.get_session(p_key_hash bytea, p_session_id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key record;
    v_session muster.analytics_sessions;
BEGIN
    SELECT * INTO v_key FROM muster.project_of_key(p_key_hash, '{read,admin}');
    IF v_key.project_id IS NULL THEN
        RETURN jsonb_build_object('refused', muster.refusal_of_key(p_key_hash));
    END IF;
    SELECT * INTO v_session FROM muster.analytics_sessions WHERE project_id = v_key.project_id AND id = p_session_id;
    IF NOT FOUND THEN
        RETURN '{"refused": "not_found"}';
    END IF;
    RETURN muster.session_json(v_session, false)
           || jsonb_build_object('participant_type', muster.participant_type_of(v_key.project_id, p_session_id));
END
$$;

GRANT EXECUTE ON FUNCTION muster.get_session TO muster_ingest;
