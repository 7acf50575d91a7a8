-- Whether a JSON text contains one of the keys as a whole string, in upper or lower case.
CREATE OR REPLACE FUNCTION muster.contains_key(p_text text, p_keys text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT EXISTS (SELECT FROM unnest(p_keys) k WHERE strpos(lower(p_text), lower(to_json(k)::text)) > 0)
$$;
