-- Records a decision. p_decision: {"userId", "sessionId": at least one of them, "status", "version", "dataUsageAccepted",
-- "decidedAt"}. Returns the decision now in force, as consent_decision does, or {"refused"}.
CREATE OR REPLACE FUNCTION muster.put_consent(p_key_hash bytea, p_decision jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key record;
    v_user_id text := p_decision ->> 'userId';
    v_session_id CONSTANT uuid := p_decision ->> 'sessionId';
    v_version CONSTANT text := p_decision ->> 'version';
    -- A decision with a future time, from a client with a wrong clock, would outrank later ones.
    v_decided_at CONSTANT timestamptz := least(coalesce((p_decision ->> 'decidedAt')::timestamptz, now()), now());
    v_session_user_id text;
BEGIN
    SELECT * INTO v_key FROM muster.project_of_key(p_key_hash, '{write,admin}');
    IF v_key.project_id IS NULL THEN
        RETURN jsonb_build_object('refused', muster.refusal_of_key(p_key_hash));
    END IF;
    IF v_session_id IS NOT NULL THEN
        SELECT s.user_id INTO v_session_user_id FROM muster.analytics_sessions s
         WHERE s.project_id = v_key.project_id AND s.id = v_session_id;
        IF v_session_user_id <> v_user_id THEN
            RETURN '{"refused": "session_belongs_to_another_user"}';
        END IF;
        v_user_id := coalesce(v_user_id, v_session_user_id);
    END IF;
    -- A decision that is sent twice is stored once.
    INSERT INTO muster.analytics_consent (project_id, user_id, session_id, status, version, data_usage_accepted, decided_at)
    SELECT v_key.project_id, v_user_id, v_session_id, p_decision ->> 'status', v_version,
           (p_decision ->> 'dataUsageAccepted')::boolean, v_decided_at
     WHERE NOT EXISTS (
           SELECT FROM muster.analytics_consent c
            WHERE c.project_id = v_key.project_id AND (c.user_id = v_user_id OR c.session_id = v_session_id)
              AND c.user_id IS NOT DISTINCT FROM v_user_id AND c.session_id IS NOT DISTINCT FROM v_session_id
              AND c.status = p_decision ->> 'status' AND c.version IS NOT DISTINCT FROM v_version AND c.decided_at = v_decided_at);
    RETURN muster.consent_decision(v_key.project_id, v_user_id, v_session_id);
END
$$;

GRANT EXECUTE ON FUNCTION muster.put_consent TO muster_people;
