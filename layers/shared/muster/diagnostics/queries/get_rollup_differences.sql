-- The sampled days on which the roll-ups differ from the events: day, then events, users and sessions of the roll-ups, then of the
-- events.
--
--   state       how far the project is rolled up; no row during a rebuild
--   rolled_up   all days of the roll-ups
--   sample      the latest day and a random day of each month
WITH state AS MATERIALIZED (
    SELECT watermark, time_zone, last_at FROM muster.rollup_state WHERE project_id = %(project_id)s AND watermark IS NOT NULL
), rolled_up AS MATERIALIZED (
    SELECT r.day, r.events, r.users, r.sessions
      FROM muster.rollup_dimensions d JOIN muster.rollup_dimension_values s ON s.dimension_id = d.id JOIN muster.rollup_days r ON r.value_id = s.id
     WHERE d.project_id = %(project_id)s AND d.name = 'all'
), sample AS (
    SELECT day FROM (SELECT DISTINCT ON (date_trunc('month', day)) day FROM rolled_up ORDER BY date_trunc('month', day), random()) m
    UNION SELECT muster.day_of(last_at, time_zone) FROM state WHERE last_at IS NOT NULL
)
SELECT s.day, coalesce(f.events, 0), coalesce(f.users, 0), coalesce(f.sessions, 0), e.events, e.users, e.sessions
  FROM sample s CROSS JOIN state t LEFT JOIN rolled_up f ON f.day = s.day
  CROSS JOIN LATERAL (
      SELECT count(*) AS events, count(DISTINCT e.user_id) AS users, count(DISTINCT e.session_id) AS sessions
        FROM muster.analytics_events e
       WHERE e.project_id = %(project_id)s AND e.xid < t.watermark
         AND e.occurred_at >= muster.day_start(s.day, t.time_zone) AND e.occurred_at < muster.day_start(s.day + 1, t.time_zone)) e
 WHERE (coalesce(f.events, 0), coalesce(f.users, 0), coalesce(f.sessions, 0)) <> (e.events, e.users, e.sessions)
 ORDER BY s.day
