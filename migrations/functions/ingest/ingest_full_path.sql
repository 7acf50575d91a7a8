-- The full path of ingest: stores any batch, event by event. Only the key's kind decides what is allowed, never the request.
-- p_request and p_body are those of store_full_path. Returns its result with the key's "prefix", or {"refused"}.
CREATE OR REPLACE FUNCTION muster.ingest_full_path(p_key_hash bytea, p_request jsonb, p_body text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    -- Must be first, as in store_full_path.
    v_xid CONSTANT xid8 := pg_current_xact_id();
    v_key record;
BEGIN
    SELECT * INTO v_key FROM muster.project_of_key(p_key_hash, '{write,admin}');
    IF v_key.project_id IS NULL THEN
        RETURN jsonb_build_object('refused', muster.refusal_of_key(p_key_hash));
    END IF;
    RETURN muster.store_full_path(v_key.project_id, v_key.kind, p_request, p_body) || jsonb_build_object('prefix', v_key.prefix);
END
$$;

GRANT EXECUTE ON FUNCTION muster.ingest_full_path TO muster_ingest;
