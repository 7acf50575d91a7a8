-- Adds events to the active days of their users. An event may be earlier than days that are rolled up, so the user's days from it
-- on are computed again. The CTEs:
--
--   added        the event groups to add that have a user
--   added_day    the same by user and day
--   touched      each user's earliest added day
--   known        the user's stored days from that day on
--   base         the user's last stored day before it
--   activity     the days on which a user was active in a dimension value. is_before: also before these events were added. is_base:
--                the days of base, which only tell the previous active day. now_previous and was_previous are that day now and before
--   days         updates rollup_days: users
--   first        the time of each user's first event
--   user_day     the days to store again, with their added events
--
-- returning_activity updates rollup_returning_activity: users. The last statement updates rollup_user_days.
CREATE OR REPLACE FUNCTION muster.add_user_activity(p_state muster.rollup_state, p_added muster.event_group[]) RETURNS void
LANGUAGE sql SET work_mem = '64MB' AS $$
    WITH added AS MATERIALIZED (
        SELECT g.* FROM unnest(p_added) g WHERE g.user_id IS NOT NULL
    ), added_day AS MATERIALIZED (
        SELECT user_id, day, sum(events) AS events, min(first_at) AS first_at FROM added GROUP BY user_id, day
    ), touched AS MATERIALIZED (
        SELECT user_id, min(day) AS since FROM added_day GROUP BY user_id
    ), known AS MATERIALIZED (
        SELECT r.user_id, r.day, r.events, r.first_at, r.value_ids, r.last_days
          FROM touched t JOIN muster.rollup_user_days r ON r.project_id = p_state.project_id AND r.user_id = t.user_id AND r.day >= t.since
    ), base AS MATERIALIZED (
        SELECT t.user_id, b.first_at, b.value_ids, b.last_days
          FROM touched t CROSS JOIN LATERAL (
              SELECT r.first_at, r.value_ids, r.last_days FROM muster.rollup_user_days r
               WHERE r.project_id = p_state.project_id AND r.user_id = t.user_id AND r.day < t.since ORDER BY r.day DESC LIMIT 1) b
    ), activity AS MATERIALIZED (
        SELECT a.*, lag(day) OVER (PARTITION BY user_id, value_id ORDER BY day) AS now_previous,
               lag(day) OVER (PARTITION BY user_id, value_id, is_before ORDER BY day) AS was_previous
          FROM (SELECT user_id, value_id, day, bool_or(is_before) AS is_before, bool_or(is_base) AS is_base
                  FROM (SELECT g.user_id, s.value_id, g.day, false AS is_before, false AS is_base
                          FROM added g, unnest(g.value_ids) AS s(value_id)
                        UNION ALL
                        SELECT k.user_id, s.value_id, k.day, true, false
                          FROM known k, unnest(k.value_ids, k.last_days) AS s(value_id, last_day) WHERE s.last_day = k.day
                        UNION ALL
                        SELECT b.user_id, s.value_id, s.last_day, true, true
                          FROM base b, unnest(b.value_ids, b.last_days) AS s(value_id, last_day)) u
                 GROUP BY user_id, value_id, day) a
    ), days AS (
        INSERT INTO muster.rollup_days AS r (value_id, day, dimension_id, events, users, sessions)
        SELECT a.value_id, a.day, s.dimension_id, 0, count(*), 0
          FROM activity a JOIN muster.rollup_dimension_values s ON s.id = a.value_id WHERE NOT a.is_before
         GROUP BY a.value_id, a.day, s.dimension_id ORDER BY 1, 2
        ON CONFLICT (value_id, day) DO UPDATE SET users = r.users + excluded.users
    ), returning_activity AS (
        INSERT INTO muster.rollup_returning_activity AS r (value_id, kind, day, previous_day, entities)
        SELECT value_id, 'u', day, previous_day, sum(sign)
          FROM (SELECT value_id, day, coalesce(now_previous, '-infinity') AS previous_day, 1 AS sign FROM activity WHERE NOT is_base
                UNION ALL
                SELECT value_id, day, coalesce(was_previous, '-infinity'), -1 FROM activity WHERE is_before AND NOT is_base) c
         GROUP BY value_id, day, previous_day HAVING sum(sign) <> 0 ORDER BY 1, 3, 4
        ON CONFLICT (value_id, kind, day, previous_day) DO UPDATE SET entities = r.entities + excluded.entities
    ), first AS (
        SELECT user_id, min(first_at) AS first_at
          FROM (SELECT user_id, first_at FROM added_day UNION ALL SELECT user_id, first_at FROM known
                UNION ALL SELECT user_id, first_at FROM base) f
         GROUP BY user_id
    ), user_day AS (
        SELECT d.user_id, d.day, sum(d.events) AS events
          FROM (SELECT user_id, day, events FROM added_day UNION ALL SELECT user_id, day, 0 FROM known) d GROUP BY d.user_id, d.day
    )
    INSERT INTO muster.rollup_user_days AS r (project_id, user_id, day, events, first_at, value_ids, last_days)
    SELECT p_state.project_id, d.user_id, d.day, d.events, f.first_at, array_agg(d.value_id ORDER BY d.value_id),
           array_agg(d.last_day ORDER BY d.value_id)
      FROM (SELECT u.user_id, u.day, u.events, a.value_id, max(a.day) AS last_day
              FROM user_day u JOIN activity a ON a.user_id = u.user_id AND a.day <= u.day
             GROUP BY u.user_id, u.day, u.events, a.value_id) d
      JOIN first f USING (user_id)
     GROUP BY d.user_id, d.day, d.events, f.first_at ORDER BY 2, 3
    ON CONFLICT (project_id, user_id, day) DO UPDATE SET events = r.events + excluded.events, first_at = excluded.first_at,
           value_ids = excluded.value_ids, last_days = excluded.last_days
     WHERE excluded.events > 0 OR (r.first_at, r.value_ids, r.last_days) IS DISTINCT FROM
                                  (excluded.first_at, excluded.value_ids, excluded.last_days)
$$;
