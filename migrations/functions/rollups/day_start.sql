-- The first moment of a day in a time zone. Days lie between midnights and are contiguous, even where clocks show the last hour of
-- a day twice.
CREATE OR REPLACE FUNCTION muster.day_start(p_day date, p_zone text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT p_day::timestamp AT TIME ZONE p_zone $$;

GRANT EXECUTE ON FUNCTION muster.day_start TO muster_reader, muster_admin;
