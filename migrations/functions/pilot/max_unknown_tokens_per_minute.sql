-- How many unknown tokens may be tried in a project per minute.
CREATE OR REPLACE FUNCTION muster.max_unknown_tokens_per_minute() RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT 60 $$;

GRANT EXECUTE ON FUNCTION muster.max_unknown_tokens_per_minute TO muster_reader, muster_admin;
