-- Projects and their keys: everything else is scoped by a project.

CREATE TABLE muster.projects (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE CHECK (name <> '' AND length(name) <= 200),
    time_zone text NOT NULL DEFAULT 'UTC',
    consent_mode text NOT NULL DEFAULT 'opt_out' CHECK (consent_mode IN ('off', 'opt_out', 'opt_in')),
    allowed_origins text[] NOT NULL DEFAULT '{*}',
    event_window_days integer NOT NULL DEFAULT 365 CHECK (event_window_days > 0),
    retention_days integer CHECK (retention_days > 0),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE muster.api_keys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id uuid NOT NULL REFERENCES muster.projects,
    kind text NOT NULL CHECK (kind IN ('write', 'read', 'admin')),
    prefix text NOT NULL,
    key_hash bytea NOT NULL UNIQUE CHECK (octet_length(key_hash) = 32),
    note text,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX api_keys_project ON muster.api_keys (project_id);

-- Who a key speaks for; no row when it is unknown or revoked. A key's hash never leaves the database.
CREATE FUNCTION muster.authenticate(p_key_hash bytea)
RETURNS TABLE (project_id uuid, kind text, prefix text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
    SELECT k.project_id, k.kind, k.prefix FROM muster.api_keys k WHERE k.key_hash = p_key_hash AND k.revoked_at IS NULL
$$;

GRANT EXECUTE ON FUNCTION muster.authenticate TO muster_ingest, muster_reader, muster_admin;
GRANT SELECT ON muster.projects TO muster_reader, muster_admin;
GRANT SELECT (id, project_id, kind, prefix, note, created_at, last_used_at, revoked_at) ON muster.api_keys
   TO muster_reader, muster_admin;
