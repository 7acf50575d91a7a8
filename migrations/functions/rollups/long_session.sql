-- The number of events from which a session counts as long, however many days it has.
CREATE OR REPLACE FUNCTION muster.long_session() RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT 2000 $$;
