-- People who log in at an identity provider, in place of a project's admin key.

-- Such a project has a key of which nobody knows more than this hash: no request can send it, and revoking it ends the logins.
-- Null where the project takes none.
CREATE FUNCTION muster.login_key(p_project_id uuid) RETURNS bytea
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
    SELECT k.key_hash FROM muster.api_keys k
     WHERE k.project_id = p_project_id AND k.kind = 'admin' AND k.prefix = 'login' AND k.revoked_at IS NULL
     ORDER BY k.created_at LIMIT 1
$$;
GRANT EXECUTE ON FUNCTION muster.login_key TO muster_reader, muster_admin;
