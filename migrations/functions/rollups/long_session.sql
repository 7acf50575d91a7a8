-- A session with more events than this is long, even if it has only one day.
CREATE OR REPLACE FUNCTION muster.long_session() RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT 2000 $$;
