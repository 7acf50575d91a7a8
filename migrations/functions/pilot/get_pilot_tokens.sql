-- A page of a project's tokens, newest first. p_cursor is the id of the last token of the previous page. Returns {"tokens"}, or
-- {"refused"}.
CREATE OR REPLACE FUNCTION muster.get_pilot_tokens(p_key_hash bytea, p_cursor uuid, p_limit integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key record;
    v_after timestamptz := 'infinity';
BEGIN
    SELECT * INTO v_key FROM muster.project_of_key(p_key_hash, '{admin}');
    IF v_key.project_id IS NULL THEN
        RETURN jsonb_build_object('refused', muster.refusal_of_key(p_key_hash));
    ELSIF p_cursor IS NOT NULL THEN
        SELECT t.created_at INTO v_after FROM muster.pilot_tokens t WHERE t.project_id = v_key.project_id AND t.id = p_cursor;
        IF NOT FOUND THEN
            RETURN '{"refused": "unknown_cursor"}';
        END IF;
    END IF;
    RETURN jsonb_build_object('tokens', (
        SELECT coalesce(jsonb_agg(muster.pilot_token_json(t) ORDER BY t.created_at DESC, t.id DESC), '[]') FROM (
            SELECT * FROM muster.pilot_tokens t
             WHERE t.project_id = v_key.project_id AND t.created_at <= v_after
               AND (p_cursor IS NULL OR (t.created_at, t.id) < (v_after, p_cursor))
             ORDER BY t.created_at DESC, t.id DESC LIMIT p_limit) t));
END
$$;

GRANT EXECUTE ON FUNCTION muster.get_pilot_tokens TO muster_people;
