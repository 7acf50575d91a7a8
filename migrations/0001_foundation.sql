-- Roles, the schema and the record of what was migrated. Runs as the login that migrates; all else runs as muster_owner.

-- Roles belong to the cluster, so another database's Muster may have made them already, even this moment.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['muster_owner', 'muster_ingest', 'muster_reader', 'muster_admin'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = name);
        BEGIN
            EXECUTE format('CREATE ROLE %I %s', name, CASE WHEN name = 'muster_owner' THEN 'NOLOGIN' ELSE 'LOGIN' END);
            -- A function's invocation ends after ten seconds; what it left running must not outlive it.
            EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', name,
                           CASE name WHEN 'muster_owner' THEN '0' ELSE '8s' END);
            EXECUTE format('ALTER ROLE %I SET lock_timeout = %L', name,
                           CASE name WHEN 'muster_owner' THEN '30s' ELSE '3s' END);
            EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', name, '15s');
            EXECUTE format('ALTER ROLE %I SET timezone = %L', name, 'UTC');
            -- On RDS the login's password is an IAM token.
            IF name <> 'muster_owner' AND EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam') THEN
                EXECUTE format('GRANT rds_iam TO %I', name);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- made by another database's migration between our look and our statement
        END;
    END LOOP;
    FOREACH name IN ARRAY ARRAY['muster_owner', 'muster_ingest', 'muster_reader', 'muster_admin'] LOOP
        -- From PostgreSQL 16 on, who creates a role is its member, and yet may not act as it.
        IF NOT pg_has_role(current_user, name,
                           CASE WHEN current_setting('server_version_num')::integer < 160000 THEN 'MEMBER' ELSE 'SET' END) THEN
            EXECUTE format('GRANT %I TO %I', name, current_user);
        END IF;
    END LOOP;
END
$$;

CREATE SCHEMA muster AUTHORIZATION muster_owner;
SET LOCAL ROLE muster_owner;
GRANT USAGE ON SCHEMA muster TO muster_ingest, muster_reader, muster_admin;

-- What PostgreSQL gives to everyone by default, we give by name.
ALTER DEFAULT PRIVILEGES FOR ROLE muster_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

CREATE TABLE muster.schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    duration_ms double precision NOT NULL
);
GRANT SELECT ON muster.schema_migrations TO muster_reader, muster_admin;
