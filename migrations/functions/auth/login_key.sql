-- The hash of the key that stands for a project's JWT logins; null if the project does not accept them. No text has this hash, so no
-- request can send the key. Revoking the key ends the logins.
CREATE OR REPLACE FUNCTION muster.login_key(p_project_id uuid) RETURNS bytea
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
    SELECT k.key_hash FROM muster.api_keys k
     WHERE k.project_id = p_project_id AND k.kind = 'admin' AND k.prefix = 'login' AND k.revoked_at IS NULL
     ORDER BY k.created_at LIMIT 1
$$;

GRANT EXECUTE ON FUNCTION muster.login_key TO muster_people, muster_reader, muster_admin;
