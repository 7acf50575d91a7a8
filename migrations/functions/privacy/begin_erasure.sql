-- Begins to erase a user. From now on, ingest ignores the user's events with earlier timestamps. Returns {"receipt_id"}, or
-- {"refused"}.
CREATE OR REPLACE FUNCTION muster.begin_erasure(p_key_hash bytea, p_user_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key record;
    v_user_hash uuid;
    v_receipt_id uuid;
BEGIN
    SELECT * INTO v_key FROM muster.project_of_key(p_key_hash, '{admin}');
    IF v_key.project_id IS NULL THEN
        RETURN jsonb_build_object('refused', muster.refusal_of_key(p_key_hash));
    END IF;
    v_user_hash := muster.hash_subject(v_key.project_id, p_user_id);
    UPDATE muster.projects SET has_erasures = true WHERE id = v_key.project_id AND NOT has_erasures;
    -- An interrupted erasure continues with its receipt.
    UPDATE muster.erasures SET requested_at = clock_timestamp()
     WHERE project_id = v_key.project_id AND user_hash = v_user_hash AND completed_at IS NULL
    RETURNING receipt_id INTO v_receipt_id;
    IF NOT FOUND THEN
        INSERT INTO muster.erasures (project_id, user_hash) VALUES (v_key.project_id, v_user_hash) RETURNING receipt_id INTO v_receipt_id;
    END IF;
    RETURN jsonb_build_object('receipt_id', v_receipt_id);
END
$$;

GRANT EXECUTE ON FUNCTION muster.begin_erasure TO muster_people;
