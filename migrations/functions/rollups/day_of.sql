-- The day of a moment in a time zone.
CREATE OR REPLACE FUNCTION muster.day_of(p_at timestamptz, p_zone text) RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- day_start written out: the planner puts only an expression in the place of the call.
    SELECT (p_at AT TIME ZONE p_zone)::date
           - (p_at < (p_at AT TIME ZONE p_zone)::date::timestamp AT TIME ZONE p_zone)::integer
           + (p_at >= ((p_at AT TIME ZONE p_zone)::date + 1)::timestamp AT TIME ZONE p_zone)::integer
$$;

GRANT EXECUTE ON FUNCTION muster.day_of TO muster_reader, muster_admin;
