-- Updates the roll-ups of sessions: p_removed were rolled up and are not any more, p_added are new, p_unchanged stay. Together they
-- must be all rolled-up events of a session; for a long session, whose days are stored, the difference is enough. Columns with was_
-- hold the state before, columns with now_ the state after. The CTEs:
--
--   grouped              all event groups. was: 1 if rolled up before, else 0. now: 1 if rolled up after, else 0
--   value_group          the same for each dimension value, with the stored days of long sessions
--   session_day          each session's days in a dimension value; now_previous and was_previous are the previous active day
--   session              each session in a dimension value: events, first and last time, first and last day
--   days                 updates rollup_days: events and sessions
--   returning_activity   updates rollup_returning_activity: sessions
--   spans                updates rollup_session_spans
--   long                 updates rollup_long_sessions
--   is_long              the sessions that are or were long
--   session_days         updates rollup_session_days, the days of long sessions
--
-- The last statement updates rollup_user_sessions.
CREATE OR REPLACE FUNCTION muster.update_session_rollups(p_state muster.rollup_state, p_unchanged muster.event_group[], p_removed muster.event_group[],
                                                p_added muster.event_group[]) RETURNS void
LANGUAGE sql SET work_mem = '64MB' AS $$
    WITH grouped AS MATERIALIZED (
        SELECT g.*, 1 AS was, 1 AS now FROM unnest(p_unchanged) g
        UNION ALL SELECT g.*, 1, 0 FROM unnest(p_removed) g
        UNION ALL SELECT g.*, 0, 1 FROM unnest(p_added) g
    ), value_group AS (
        SELECT s.value_id, g.session_id, g.day, g.events, g.first_at, g.last_at, g.was, g.now
          FROM grouped g, unnest(g.value_ids) AS s(value_id)
        UNION ALL
        SELECT d.value_id, d.session_id, d.day, d.events, d.first_at, d.last_at, 1, 1
          FROM (SELECT DISTINCT session_id FROM grouped) t
          JOIN muster.rollup_session_days d ON d.project_id = p_state.project_id AND d.session_id = t.session_id
    ), session_day AS MATERIALIZED (
        SELECT d.*,
               lag(day) OVER (PARTITION BY value_id, session_id, is_now ORDER BY day) AS now_previous,
               lag(day) OVER (PARTITION BY value_id, session_id, is_before ORDER BY day) AS was_previous
          FROM (SELECT value_id, session_id, day, sum(events * was) AS was_events, sum(events * now) AS now_events,
                       bool_or(was = 1) AS is_before, bool_or(now = 1) AS is_now,
                       min(first_at) FILTER (WHERE was = 1) AS was_first, max(last_at) FILTER (WHERE was = 1) AS was_last,
                       min(first_at) FILTER (WHERE now = 1) AS now_first, max(last_at) FILTER (WHERE now = 1) AS now_last
                  FROM value_group GROUP BY value_id, session_id, day) d
    ), session AS MATERIALIZED (
        SELECT value_id, session_id, sum(was_events) AS was_events, sum(now_events) AS now_events,
               min(was_first) AS was_first, max(was_last) AS was_last, min(now_first) AS now_first, max(now_last) AS now_last,
               min(day) FILTER (WHERE is_before) AS was_first_day, max(day) FILTER (WHERE is_before) AS was_last_day,
               min(day) FILTER (WHERE is_now) AS now_first_day, max(day) FILTER (WHERE is_now) AS now_last_day
          FROM session_day GROUP BY value_id, session_id
    ), days AS (
        INSERT INTO muster.rollup_days AS r (value_id, day, dimension_id, events, users, sessions)
        SELECT d.value_id, d.day, s.dimension_id, d.events, 0, d.sessions
          FROM (SELECT value_id, day, sum(now_events - was_events) AS events, sum(is_now::integer - is_before::integer) AS sessions
                  FROM session_day GROUP BY value_id, day) d
          JOIN muster.rollup_dimension_values s ON s.id = d.value_id
         WHERE d.events <> 0 OR d.sessions <> 0 ORDER BY 1, 2
        ON CONFLICT (value_id, day) DO UPDATE SET events = r.events + excluded.events, sessions = r.sessions + excluded.sessions
    ), returning_activity AS (
        INSERT INTO muster.rollup_returning_activity AS r (value_id, kind, day, previous_day, entities)
        SELECT value_id, 's', day, previous_day, sum(sign)
          FROM (SELECT value_id, day, coalesce(now_previous, '-infinity') AS previous_day, 1 AS sign FROM session_day WHERE is_now
                UNION ALL
                SELECT value_id, day, coalesce(was_previous, '-infinity'), -1 FROM session_day WHERE is_before) c
         GROUP BY value_id, day, previous_day HAVING sum(sign) <> 0 ORDER BY 1, 3, 4
        ON CONFLICT (value_id, kind, day, previous_day) DO UPDATE SET entities = r.entities + excluded.entities
    ), spans AS (
        INSERT INTO muster.rollup_session_spans AS r (value_id, first_day, last_day, sessions, micros, bounces)
        SELECT value_id, first_day, last_day, sum(sign), sum(sign * micros), sum(sign * bounce)
          FROM (SELECT 1 AS sign, value_id, now_first_day AS first_day, now_last_day AS last_day, (now_events = 1)::integer AS bounce,
                       (extract(epoch FROM now_last - now_first) * 1000000)::bigint AS micros
                  FROM session WHERE now_events > 0
                UNION ALL
                SELECT -1, value_id, was_first_day, was_last_day, (was_events = 1)::integer,
                       (extract(epoch FROM was_last - was_first) * 1000000)::bigint
                  FROM session WHERE was_events > 0) s
         GROUP BY value_id, first_day, last_day
        HAVING sum(sign) <> 0 OR sum(sign * micros) <> 0 OR sum(sign * bounce) <> 0 ORDER BY 1, 2, 3
        ON CONFLICT (value_id, first_day, last_day) DO UPDATE SET sessions = r.sessions + excluded.sessions,
               micros = r.micros + excluded.micros, bounces = r.bounces + excluded.bounces
    ), long AS (
        INSERT INTO muster.rollup_long_sessions AS l (project_id, session_id, first_day, last_day)
        SELECT p_state.project_id, s.session_id, s.now_first_day, s.now_last_day
          FROM session s JOIN muster.rollup_dimension_values r ON r.id = s.value_id JOIN muster.rollup_dimensions d ON d.id = r.dimension_id
         WHERE d.name = 'all' AND (s.now_first_day < s.now_last_day OR s.now_events > muster.long_session()) ORDER BY 2
        ON CONFLICT (project_id, session_id) DO UPDATE SET first_day = excluded.first_day, last_day = excluded.last_day
         WHERE (l.first_day, l.last_day) <> (excluded.first_day, excluded.last_day)
    ), is_long AS (
        SELECT session_id FROM session GROUP BY session_id
        HAVING max(now_events) > muster.long_session() OR min(now_first_day) < max(now_last_day)
        UNION SELECT d.session_id FROM (SELECT DISTINCT session_id FROM grouped) t
          JOIN muster.rollup_session_days d ON d.project_id = p_state.project_id AND d.session_id = t.session_id
    ), session_days AS (
        INSERT INTO muster.rollup_session_days AS r (project_id, session_id, value_id, day, events, first_at, last_at)
        SELECT p_state.project_id, session_id, value_id, day, now_events, now_first, now_last
          FROM session_day JOIN is_long USING (session_id) WHERE is_now ORDER BY 2, 3, 4
        ON CONFLICT (project_id, session_id, value_id, day) DO UPDATE SET
               events = excluded.events, first_at = excluded.first_at, last_at = excluded.last_at
         WHERE r.events <> excluded.events
    )
    INSERT INTO muster.rollup_user_sessions AS r (project_id, user_id, session_id, first_day, last_day)
    SELECT p_state.project_id, user_id, session_id, min(day), max(day)
      FROM grouped WHERE user_id IS NOT NULL AND now = 1 AND was = 0 GROUP BY user_id, session_id ORDER BY 2, 3
    ON CONFLICT (project_id, user_id, session_id) DO UPDATE SET
           first_day = least(r.first_day, excluded.first_day), last_day = greatest(r.last_day, excluded.last_day)
     WHERE excluded.first_day < r.first_day OR excluded.last_day > r.last_day
$$;
