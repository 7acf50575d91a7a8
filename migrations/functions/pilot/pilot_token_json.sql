-- A token as listed, without its hash.
CREATE OR REPLACE FUNCTION muster.pilot_token_json(p_token muster.pilot_tokens) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'id', p_token.id, 'prefix', p_token.prefix, 'participant_type', p_token.participant_type,
        'state', CASE WHEN p_token.revoked_at IS NOT NULL THEN 'revoked' WHEN p_token.expires_at <= now() THEN 'expired'
                      WHEN p_token.uses >= p_token.max_uses THEN 'used_up' ELSE 'active' END,
        'uses', p_token.uses, 'max_uses', p_token.max_uses, 'note', p_token.note, 'expires_at', p_token.expires_at,
        'revoked_at', p_token.revoked_at, 'created_at', p_token.created_at)
$$;
