-- Roles, the schema, and the record of what was migrated.
-- This file starts as the login that migrates, which must be able to create roles; everything after it runs as muster_owner.

-- Roles belong to the cluster. Another database's Muster may have created them already, even at this moment.
DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['muster_owner', 'muster_ingest', 'muster_people', 'muster_reader', 'muster_admin'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v_role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I %s', v_role, CASE WHEN v_role = 'muster_owner' THEN 'NOLOGIN' ELSE 'LOGIN' END);
                -- An invocation of a function ends after ten seconds. A statement that it left running must not outlive it.
                EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', v_role,
                               CASE v_role WHEN 'muster_owner' THEN '0' ELSE '8s' END);
                EXECUTE format('ALTER ROLE %I SET lock_timeout = %L', v_role,
                               CASE v_role WHEN 'muster_owner' THEN '30s' ELSE '3s' END);
                EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', v_role, '15s');
                EXECUTE format('ALTER ROLE %I SET timezone = %L', v_role, 'UTC');
                -- On RDS a function logs in with an IAM token.
                IF v_role <> 'muster_owner' AND EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam') THEN
                    EXECUTE format('GRANT rds_iam TO %I', v_role);
                END IF;
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- another database's migration created it between our check and our statement
            END;
        END IF;
        -- From PostgreSQL 16 on, the creator of a role is a member of it but may not act as it.
        IF NOT pg_has_role(current_user, v_role,
                           CASE WHEN current_setting('server_version_num')::integer < 160000 THEN 'MEMBER' ELSE 'SET' END) THEN
            EXECUTE format('GRANT %I TO %I', v_role, current_user);
        END IF;
    END LOOP;
END
$$;

CREATE SCHEMA muster AUTHORIZATION muster_owner;
SET LOCAL ROLE muster_owner;
GRANT USAGE ON SCHEMA muster TO muster_ingest, muster_people, muster_reader, muster_admin;

-- PostgreSQL lets everyone execute a new function. We grant by name instead.
ALTER DEFAULT PRIVILEGES FOR ROLE muster_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- One row for each numbered migration.
CREATE TABLE muster.schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    duration_ms double precision NOT NULL
);

-- One row: the set of functions and triggers that was applied last.
CREATE TABLE muster.schema_functions (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    duration_ms double precision NOT NULL
);
GRANT SELECT ON muster.schema_migrations, muster.schema_functions TO muster_reader, muster_admin;
