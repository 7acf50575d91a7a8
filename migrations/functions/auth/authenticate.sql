-- The project of a key, or the reason why there is none; for roles that cannot read keys.
CREATE OR REPLACE FUNCTION muster.authenticate(p_key_hash bytea, p_kinds text[]) RETURNS TABLE (project_id uuid, refused text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
    SELECT k.project_id, CASE WHEN k.project_id IS NULL THEN muster.refusal_of_key(p_key_hash) END
      FROM (SELECT) one LEFT JOIN muster.project_of_key(p_key_hash, p_kinds) k ON true
$$;

GRANT EXECUTE ON FUNCTION muster.authenticate TO muster_reader, muster_admin;
