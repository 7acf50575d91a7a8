-- The hash of an erased user, session or event, by which ingest recognizes it. It includes the project, so a user of two projects has
-- two hashes.
CREATE OR REPLACE FUNCTION muster.hash_subject(p_project_id uuid, p_text text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT muster.hash_text(p_project_id || ' ' || p_text) $$;

GRANT EXECUTE ON FUNCTION muster.hash_subject TO muster_reader, muster_admin;
