-- Roles, the schema, and the record of applied migrations.
-- This file starts as the login that migrates, which must be able to create roles. Later files run as muster_owner.

-- Roles belong to the whole cluster. A migration of another database may have created them, or may be doing so now.
DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['muster_owner', 'muster_ingest', 'muster_people', 'muster_reader', 'muster_admin'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v_role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I %s', v_role, CASE WHEN v_role = 'muster_owner' THEN 'NOLOGIN' ELSE 'LOGIN' END);
                -- A function is stopped after ten seconds; its statements must stop before that.
                EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', v_role,
                               CASE v_role WHEN 'muster_owner' THEN '0' ELSE '8s' END);
                EXECUTE format('ALTER ROLE %I SET lock_timeout = %L', v_role,
                               CASE v_role WHEN 'muster_owner' THEN '30s' ELSE '3s' END);
                EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', v_role, '15s');
                EXECUTE format('ALTER ROLE %I SET timezone = %L', v_role, 'UTC');
                -- On RDS, functions log in with IAM tokens.
                IF v_role <> 'muster_owner' AND EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam') THEN
                    EXECUTE format('GRANT rds_iam TO %I', v_role);
                END IF;
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- another database's migration created it after the check above
            END;
        END IF;
        -- Since PostgreSQL 16, the creator of a role is its member but may not act as it.
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

-- PostgreSQL lets PUBLIC execute new functions. Each function's file grants it to roles instead.
ALTER DEFAULT PRIVILEGES FOR ROLE muster_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- One row for each numbered migration.
CREATE TABLE muster.schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    duration_ms double precision NOT NULL
);

-- One row: the functions and triggers that were applied last.
CREATE TABLE muster.schema_functions (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    duration_ms double precision NOT NULL
);
GRANT SELECT ON muster.schema_migrations, muster.schema_functions TO muster_reader, muster_admin;
