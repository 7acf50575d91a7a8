-- Consent, pilot tokens, and the rights of those who are counted have a role of their own: it may look up the key that stands for a
-- login, which lets admins in, and the role of ingest, whose functions everybody can call, may not.

RESET ROLE; -- as the login that migrates, which may create roles
DO $$
BEGIN
    -- Roles belong to the cluster: another database's Muster may have made it, even this moment.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'muster_people') THEN
        BEGIN
            CREATE ROLE muster_people LOGIN;
            ALTER ROLE muster_people SET statement_timeout = '8s';
            ALTER ROLE muster_people SET lock_timeout = '3s';
            ALTER ROLE muster_people SET idle_in_transaction_session_timeout = '15s';
            ALTER ROLE muster_people SET timezone = 'UTC';
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam') THEN
                GRANT rds_iam TO muster_people;
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    IF NOT pg_has_role(current_user, 'muster_people',
                       CASE WHEN current_setting('server_version_num')::integer < 160000 THEN 'MEMBER' ELSE 'SET' END) THEN
        EXECUTE format('GRANT muster_people TO %I', current_user);
    END IF;
END
$$;
SET LOCAL ROLE muster_owner;

GRANT USAGE ON SCHEMA muster TO muster_people;
GRANT EXECUTE ON FUNCTION muster.authenticate, muster.login_key, muster.allowed_origins, muster.note_key_use TO muster_people;
GRANT EXECUTE ON FUNCTION muster.put_consent, muster.get_consent, muster.get_subject, muster.begin_erasure, muster.run_erasure
      TO muster_people;
GRANT EXECUTE ON FUNCTION muster.issue_pilot_tokens, muster.get_pilot_tokens, muster.revoke_pilot_token, muster.redeem_pilot_token
      TO muster_people;
-- The role of ingest keeps its grants until functions deployed before this are gone; a later migration takes them.
