-- Revokes a token, so that it cannot be redeemed again. Participants stay participants. Returns the token, or {"refused"}.
CREATE OR REPLACE FUNCTION muster.revoke_pilot_token(p_key_hash bytea, p_id uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key record;
    v_token muster.pilot_tokens;
BEGIN
    SELECT * INTO v_key FROM muster.project_of_key(p_key_hash, '{admin}');
    IF v_key.project_id IS NULL THEN
        RETURN jsonb_build_object('refused', muster.refusal_of_key(p_key_hash));
    END IF;
    UPDATE muster.pilot_tokens SET revoked_at = coalesce(revoked_at, now())
     WHERE project_id = v_key.project_id AND id = p_id RETURNING * INTO v_token;
    IF NOT FOUND THEN
        RETURN '{"refused": "token_not_found"}';
    END IF;
    RETURN muster.pilot_token_json(v_token);
END
$$;

GRANT EXECUTE ON FUNCTION muster.revoke_pilot_token TO muster_people;
