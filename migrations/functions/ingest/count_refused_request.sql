-- Counts a refused request in the quarantine. Returns {"project", "prefix"}, or {"refused"}.
CREATE OR REPLACE FUNCTION muster.count_refused_request(p_key_hash bytea, p_request_id text, p_rejections jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key record;
BEGIN
    SELECT * INTO v_key FROM muster.project_of_key(p_key_hash, '{write,admin}');
    IF v_key.project_id IS NULL THEN
        RETURN jsonb_build_object('refused', muster.refusal_of_key(p_key_hash));
    END IF;
    PERFORM muster.quarantine(v_key.project_id, p_request_id, NULL, p_rejections);
    RETURN jsonb_build_object('project', v_key.project_id, 'prefix', v_key.prefix);
END
$$;

GRANT EXECUTE ON FUNCTION muster.count_refused_request TO muster_ingest;
