-- The reason why muster.project_of_key returns no row: the key is unknown or revoked, or of another kind.
CREATE OR REPLACE FUNCTION muster.refusal_of_key(p_key_hash bytea) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN EXISTS (SELECT FROM muster.api_keys k WHERE k.key_hash = p_key_hash AND k.revoked_at IS NULL)
                THEN 'key_not_allowed' ELSE 'invalid_key' END
$$;
