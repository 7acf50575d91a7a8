-- Sends one event through ingest with a temporary key and rolls everything back. Returns {"ok": true}, or {"ok": false, "sqlstate",
-- "table", "constraint"} of the error.
CREATE OR REPLACE FUNCTION muster.write_canary(p_project_id uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key_hash CONSTANT bytea := sha256(convert_to(gen_random_uuid()::text, 'UTF8'));
    v_event_id CONSTANT uuid := gen_random_uuid();
    v_batch_id CONSTANT uuid := gen_random_uuid();
    v_session_id CONSTANT uuid := gen_random_uuid();
    v_table text;
    v_constraint text;
BEGIN
    INSERT INTO muster.api_keys (project_id, kind, prefix, key_hash) VALUES (p_project_id, 'write', 'canary', v_key_hash);
    IF muster.ingest_fast_path(v_key_hash, v_batch_id, v_session_id, NULL, NULL, NULL, NULL, NULL, NULL, '{}', '{}', 1, now(), now(),
                               v_event_id::text, now()::text, 'muster_canary', 'unknown', '{}') = 'needs_full_path' THEN
        PERFORM muster.ingest_full_path(v_key_hash,
            jsonb_build_object('requestId', 'canary', 'batchId', v_batch_id, 'sessionId', v_session_id, 'bots', '[]'::jsonb,
                               'contexts', '{}'::jsonb, 'identities', '[]'::jsonb, 'rejections', '[]'::jsonb),
            json_build_object('events', json_build_array(json_build_object(
                'id', v_event_id, 'eventType', 'muster_canary', 'timestamp', now())))::text);
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'MU001', MESSAGE = 'rolled back';
EXCEPTION
    WHEN SQLSTATE 'MU001' THEN
        RETURN '{"ok": true}';
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS v_table = TABLE_NAME, v_constraint = CONSTRAINT_NAME;
        RETURN jsonb_build_object('ok', false, 'sqlstate', SQLSTATE, 'table', v_table, 'constraint', v_constraint);
END
$$;

GRANT EXECUTE ON FUNCTION muster.write_canary TO muster_reader, muster_admin;
