-- The day of a time in a time zone. Days begin at day_start.
CREATE OR REPLACE FUNCTION muster.day_of(p_at timestamptz, p_zone text) RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- day_start is written out, so that the planner can inline this function.
    SELECT (p_at AT TIME ZONE p_zone)::date
           - (p_at < (p_at AT TIME ZONE p_zone)::date::timestamp AT TIME ZONE p_zone)::integer
           + (p_at >= ((p_at AT TIME ZONE p_zone)::date + 1)::timestamp AT TIME ZONE p_zone)::integer
$$;

GRANT EXECUTE ON FUNCTION muster.day_of TO muster_reader, muster_admin;
