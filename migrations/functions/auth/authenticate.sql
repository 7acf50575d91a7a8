-- The same for roles that cannot read keys. A key's hash never leaves the database.
CREATE OR REPLACE FUNCTION muster.authenticate(p_key_hash bytea, p_kinds text[])
RETURNS TABLE (project_id uuid, kind text, prefix text, refused text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
    SELECT * FROM muster.project_of_key(p_key_hash, p_kinds)
$$;

GRANT EXECUTE ON FUNCTION muster.authenticate TO muster_reader, muster_admin;
