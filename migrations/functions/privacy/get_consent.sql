-- The decision in force for a user or a session, as consent_decision returns it, or {"refused"}. For a session, the decisions of its
-- user count too.
CREATE OR REPLACE FUNCTION muster.get_consent(p_key_hash bytea, p_user_id text, p_session_id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key record;
BEGIN
    SELECT * INTO v_key FROM muster.project_of_key(p_key_hash, '{write,read,admin}');
    IF v_key.project_id IS NULL THEN
        RETURN jsonb_build_object('refused', muster.refusal_of_key(p_key_hash));
    END IF;
    RETURN muster.consent_decision(v_key.project_id, coalesce(p_user_id, (
        SELECT s.user_id FROM muster.analytics_sessions s WHERE s.project_id = v_key.project_id AND s.id = p_session_id)), p_session_id);
END
$$;

GRANT EXECUTE ON FUNCTION muster.get_consent TO muster_people;
