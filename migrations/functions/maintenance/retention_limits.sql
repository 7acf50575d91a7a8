-- The first day that each project with a data retention keeps: the day of the time retention_days ago. retention_days is capped at a
-- hundred years, because no event is older.
CREATE OR REPLACE FUNCTION muster.retention_limits() RETURNS TABLE (project_id uuid, retention_days integer, time_zone text, first_day date, keep_from timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT p.id, p.retention_days, z.time_zone, d.first_day, muster.day_start(d.first_day, z.time_zone)
      FROM muster.projects p LEFT JOIN muster.rollup_state s ON s.project_id = p.id
     CROSS JOIN LATERAL (SELECT coalesce(s.time_zone, p.time_zone) AS time_zone) z
     CROSS JOIN LATERAL (
           SELECT muster.day_of(now() - least(p.retention_days, 36500) * interval '24 hours', z.time_zone) AS first_day) d
     WHERE p.retention_days IS NOT NULL
$$;

GRANT EXECUTE ON FUNCTION muster.retention_limits TO muster_admin;
