-- For each cohort (the period of the users' first event, from 1) and each period from it (0 is the cohort's own), the number of
-- active users. starts are the starts of the periods.
--
--   unrolled   the events of users that are not rolled up yet
--   active     the periods in which each user was active: from the roll-ups if they have the time zone's days, otherwise from the
--              events; and from the unrolled events
--   cohort     the period of each user's first event, 0 if it was before the range
WITH unrolled AS MATERIALIZED (
    SELECT e.user_id, e.occurred_at FROM muster.analytics_events e
     WHERE e.project_id = %(project_id)s AND e.xid >= %(watermark)s AND e.user_id IS NOT NULL
), active AS MATERIALIZED (
    SELECT u.user_id, width_bucket(muster.day_start(u.day, %(timezone)s), %(starts)s::timestamptz[]) AS period
      FROM muster.rollup_user_days u
     WHERE %(is_rolled_up)s AND u.project_id = %(project_id)s AND u.day >= muster.day_of(%(start)s, %(timezone)s)
       AND u.day < muster.day_of(%(end)s, %(timezone)s)
    UNION
    SELECT e.user_id, width_bucket(e.occurred_at, %(starts)s::timestamptz[])
      FROM muster.analytics_events e
     WHERE NOT %(is_rolled_up)s AND e.project_id = %(project_id)s AND e.xid < %(watermark)s AND e.user_id IS NOT NULL
       AND e.occurred_at >= %(start)s AND e.occurred_at < %(end)s
    UNION
    SELECT t.user_id, width_bucket(t.occurred_at, %(starts)s::timestamptz[])
      FROM unrolled t WHERE t.occurred_at >= %(start)s AND t.occurred_at < %(end)s
), cohort AS (
    SELECT a.user_id, width_bucket(least(f.first_at, t.first_at), %(starts)s::timestamptz[]) AS number
      FROM (SELECT DISTINCT user_id FROM active) a
      LEFT JOIN (SELECT user_id, min(occurred_at) AS first_at FROM unrolled GROUP BY user_id) t ON t.user_id = a.user_id
      LEFT JOIN LATERAL (SELECT u.first_at FROM muster.rollup_user_days u
                          WHERE u.project_id = %(project_id)s AND u.user_id = a.user_id AND %(watermark)s > 0
                          ORDER BY u.day DESC LIMIT 1) f ON true
)
SELECT c.number AS cohort, a.period - c.number AS period, count(*) AS users
  FROM cohort c JOIN active a ON a.user_id = c.user_id WHERE c.number > 0 GROUP BY 1, 2
