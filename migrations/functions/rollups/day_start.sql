-- The start of a day in a time zone. A day lasts from midnight to midnight, even if the clock shows its last hour twice.
CREATE OR REPLACE FUNCTION muster.day_start(p_day date, p_zone text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT p_day::timestamp AT TIME ZONE p_zone $$;

GRANT EXECUTE ON FUNCTION muster.day_start TO muster_reader, muster_admin;
