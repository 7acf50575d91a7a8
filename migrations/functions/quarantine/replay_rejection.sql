-- Tries to store a rejected event or request under the current rules, with its original time of receipt.
-- p_request and p_body are those of store_full_path. With "history": true in p_request, events may be as old as with an admin key.
-- Returns {"outcome": "stored" | "rejected" | "gone", "accepted", "others"}, or {"refused"}.
CREATE OR REPLACE FUNCTION muster.replay_rejection(p_key_hash bytea, p_id bigint, p_request jsonb, p_body text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    -- Must be first, as in store_full_path.
    v_xid CONSTANT xid8 := pg_current_xact_id();
    v_key record;
    v_row muster.analytics_rejections;
    v_stored jsonb;
BEGIN
    SELECT * INTO v_key FROM muster.project_of_key(p_key_hash, '{admin}');
    IF v_key.project_id IS NULL THEN
        RETURN jsonb_build_object('refused', muster.refusal_of_key(p_key_hash));
    END IF;
    SELECT * INTO v_row FROM muster.analytics_rejections
     WHERE id = p_id AND project_id = v_key.project_id AND replayed_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN '{"outcome": "gone"}';
    END IF;
    -- An event that is rejected again is rolled back, because it is in the quarantine already.
    BEGIN
        v_stored := muster.store_full_path(v_row.project_id,
            CASE WHEN (p_request ->> 'history')::boolean THEN 'admin' ELSE 'write' END,
            p_request || jsonb_build_object('receivedAt', v_row.received_at), p_body);
        IF v_row.event_index IS NOT NULL AND jsonb_path_exists(v_stored, '$.others[*][1] ? (@ == "rejected")') THEN
            RAISE EXCEPTION USING ERRCODE = 'MU001', MESSAGE = 'rolled back';
        END IF;
    EXCEPTION WHEN SQLSTATE 'MU001' THEN
        RETURN jsonb_build_object('outcome', 'rejected', 'accepted', 0, 'others', v_stored -> 'others');
    END;
    UPDATE muster.analytics_rejections SET replayed_at = now(), payload = NULL WHERE id = p_id;
    RETURN jsonb_build_object('outcome', 'stored', 'accepted', v_stored -> 'accepted', 'others', v_stored -> 'others');
END
$$;

GRANT EXECUTE ON FUNCTION muster.replay_rejection TO muster_reader;
