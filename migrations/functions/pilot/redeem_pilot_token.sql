-- Redeems a token for a user, a session or both. The token's row is locked, so concurrent calls cannot exceed its uses. A second
-- redemption by the same user or session returns the first one, even if the token has since expired or been revoked.
-- Returns {"participant_type", "redeemed_at"}, or {"refused"}.
CREATE OR REPLACE FUNCTION muster.redeem_pilot_token(p_key_hash bytea, p_token_hash bytea, p_user_id text, p_session_id uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key record;
    v_token muster.pilot_tokens;
    v_known muster.pilot_redemptions;
BEGIN
    SELECT * INTO v_key FROM muster.project_of_key(p_key_hash, '{write,admin}');
    IF v_key.project_id IS NULL THEN
        RETURN jsonb_build_object('refused', muster.refusal_of_key(p_key_hash));
    END IF;
    SELECT * INTO v_token FROM muster.pilot_tokens WHERE token_hash = p_token_hash AND project_id = v_key.project_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN muster.count_unknown_token(v_key.project_id);
    END IF;
    SELECT * INTO v_known FROM muster.pilot_redemptions r
     WHERE r.project_id = v_key.project_id AND r.token_id = v_token.id AND (r.user_id = p_user_id OR r.session_id = p_session_id)
     ORDER BY (r.user_id = p_user_id) IS TRUE DESC, (r.session_id = p_session_id) IS TRUE DESC, r.id LIMIT 1;
    IF v_known.user_id IS NULL AND v_known.session_id = p_session_id AND p_user_id IS NOT NULL THEN
        -- The session redeemed the token before its user was known. A redemption that has a user keeps it.
        UPDATE muster.pilot_redemptions SET user_id = p_user_id WHERE id = v_known.id;
    ELSIF v_known.user_id = p_user_id AND v_known.session_id IS DISTINCT FROM p_session_id AND p_session_id IS NOT NULL THEN
        INSERT INTO muster.pilot_redemptions (project_id, token_id, participant_type, user_id, session_id, redeemed_at)
        VALUES (v_key.project_id, v_token.id, v_known.participant_type, p_user_id, p_session_id, v_known.redeemed_at);
    ELSIF v_known.id IS NULL THEN
        IF v_token.revoked_at IS NOT NULL THEN
            RETURN '{"refused": "token_revoked"}';
        ELSIF v_token.expires_at <= now() THEN
            RETURN '{"refused": "token_expired"}';
        ELSIF v_token.uses >= v_token.max_uses THEN
            RETURN '{"refused": "token_used_up"}';
        END IF;
        UPDATE muster.pilot_tokens SET uses = uses + 1 WHERE id = v_token.id;
        INSERT INTO muster.pilot_redemptions (project_id, token_id, participant_type, user_id, session_id)
        VALUES (v_key.project_id, v_token.id, v_token.participant_type, p_user_id, p_session_id) RETURNING * INTO v_known;
    END IF;
    RETURN jsonb_build_object('participant_type', v_known.participant_type, 'redeemed_at', v_known.redeemed_at);
END
$$;

GRANT EXECUTE ON FUNCTION muster.redeem_pilot_token TO muster_people;
