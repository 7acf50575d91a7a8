-- Issues tokens. The caller chooses the ids and hashes, so a retry of the call issues nothing twice. Returns {"issued",
-- "expires_at"}, or {"refused"}.
CREATE OR REPLACE FUNCTION muster.issue_pilot_tokens(p_key_hash bytea, p_ids uuid[], p_hashes bytea[], p_prefixes text[],
    p_participant_type text, p_max_uses integer, p_expires_at timestamptz, p_note text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key record;
BEGIN
    SELECT * INTO v_key FROM muster.project_of_key(p_key_hash, '{admin}');
    IF v_key.project_id IS NULL THEN
        RETURN jsonb_build_object('refused', muster.refusal_of_key(p_key_hash));
    ELSIF p_expires_at <= now() THEN
        RETURN '{"refused": "expired_already"}';
    END IF;
    INSERT INTO muster.pilot_tokens (id, project_id, token_hash, prefix, participant_type, max_uses, expires_at, note)
    SELECT t.id, v_key.project_id, t.hash, t.prefix, p_participant_type, p_max_uses, p_expires_at, p_note
      FROM unnest(p_ids, p_hashes, p_prefixes) AS t(id, hash, prefix)
    ON CONFLICT (id) DO NOTHING;
    RETURN jsonb_build_object('issued', cardinality(p_ids), 'expires_at', p_expires_at);
END
$$;

GRANT EXECUTE ON FUNCTION muster.issue_pilot_tokens TO muster_people;
