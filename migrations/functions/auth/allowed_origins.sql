-- The web origins that may use a key; null for an unknown or revoked key.
CREATE OR REPLACE FUNCTION muster.allowed_origins(p_key_hash bytea) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
    SELECT p.allowed_origins FROM muster.api_keys k JOIN muster.projects p ON p.id = k.project_id
     WHERE k.key_hash = p_key_hash AND k.revoked_at IS NULL
$$;

GRANT EXECUTE ON FUNCTION muster.allowed_origins TO muster_ingest, muster_people, muster_reader, muster_admin;
