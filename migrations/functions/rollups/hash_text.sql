-- A hash of a text of any length, for index keys. Null has the hash 0.
CREATE OR REPLACE FUNCTION muster.hash_text(p_value text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_value IS NULL THEN '00000000-0000-0000-0000-000000000000'::uuid
                ELSE left(encode(sha256(convert_to(p_value, 'UTF8')), 'hex'), 32)::uuid END
$$;

GRANT EXECUTE ON FUNCTION muster.hash_text TO muster_reader, muster_admin;
