-- PUT /v1/sessions/{sessionId}: checks the key and returns the result of store_session, or {"refused"}.
CREATE OR REPLACE FUNCTION muster.put_session(p_key_hash bytea, p_session_id uuid, p_change jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key record;
BEGIN
    SELECT * INTO v_key FROM muster.project_of_key(p_key_hash, '{write,admin}');
    IF v_key.project_id IS NULL THEN
        RETURN jsonb_build_object('refused', muster.refusal_of_key(p_key_hash));
    END IF;
    RETURN muster.store_session(v_key.project_id, p_session_id, p_change);
END
$$;

GRANT EXECUTE ON FUNCTION muster.put_session TO muster_ingest;
