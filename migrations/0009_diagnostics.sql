-- What diagnostics needs beyond reading.

-- Sends one event through the ingest path and takes it back: nothing of it remains, whatever happens.
-- Answers {"ok": true} or {"ok": false, "sqlstate", "message", "detail"}; a key is needed, for the check is a project's.
CREATE FUNCTION muster.write_canary(p_project_id uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_session uuid := gen_random_uuid();
    v_batch uuid := gen_random_uuid();
    v_answer jsonb;
    v_message text;
    v_table text;
BEGIN
    BEGIN
        v_answer := muster.store_batch(p_project_id, 'write',
            jsonb_build_object('requestId', 'canary', 'batchId', v_batch, 'sessionId', v_session, 'count', 1,
                               'bots', '[]'::jsonb, 'contexts', '{}'::jsonb, 'rejections', '[]'::jsonb),
            json_build_object('events', json_build_array(json_build_object(
                'id', gen_random_uuid(), 'eventType', 'muster_canary', 'timestamp', now())))::text);
        RAISE EXCEPTION USING ERRCODE = 'MU000', MESSAGE = 'taken back';
    EXCEPTION
        WHEN SQLSTATE 'MU000' THEN
            RETURN jsonb_build_object('ok', true, 'answer', v_answer);
        WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS v_message = MESSAGE_TEXT, v_table = TABLE_NAME;
            RETURN jsonb_build_object('ok', false, 'sqlstate', SQLSTATE, 'message', v_message, 'table', v_table);
    END;
END
$$;
GRANT EXECUTE ON FUNCTION muster.write_canary TO muster_reader, muster_admin;
