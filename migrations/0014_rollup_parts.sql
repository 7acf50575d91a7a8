-- Adding to rollups, and taking away: from groups of events that are alike. Only who holds a project's state may.

-- What they are added up as: with the scopes that they are in.
CREATE TYPE muster.rollup_part AS (session_id uuid, user_id text, day date, events bigint, first_at timestamptz, last_at timestamptz,
    scopes integer[]);

-- The groups with their scopes, which are made known first; only who holds the project's state may call it.
CREATE FUNCTION muster.parts_of(p_state muster.rollup_state, p_groups muster.rollup_group[]) RETURNS muster.rollup_part[]
LANGUAGE plpgsql SET work_mem = '64MB' AS $$
DECLARE
    v_parts muster.rollup_part[];
    v_names text[];
    v_values text[];
BEGIN
    IF p_groups IS NULL THEN
        RETURN '{}';
    END IF;
    SELECT array_agg(v.name), array_agg(v.value) INTO v_names, v_values
      FROM (SELECT 'all' AS name, NULL AS value
            UNION ALL SELECT 'userId', NULL
            UNION ALL SELECT DISTINCT 'eventType', event_type FROM unnest(p_groups)
            UNION ALL SELECT DISTINCT 'area', area FROM unnest(p_groups)
            UNION ALL SELECT DISTINCT 'data.' || k.key, k.value
              FROM unnest(p_groups) g, unnest(p_state.keys, g.key_values) k(key, value) WHERE p_state.keys <> '{}') v;
    INSERT INTO muster.rollup_dimensions (project_id, name)
    SELECT DISTINCT p_state.project_id, n FROM unnest(v_names) n
     WHERE NOT EXISTS (SELECT FROM muster.rollup_dimensions d WHERE d.project_id = p_state.project_id AND d.name = n);
    INSERT INTO muster.rollup_scopes (dimension_id, value_hash, value)
    SELECT d.id, muster.hash_of(v.value), v.value
      FROM unnest(v_names, v_values) v(name, value)
      JOIN muster.rollup_dimensions d ON d.project_id = p_state.project_id AND d.name = v.name
     WHERE NOT EXISTS (SELECT FROM muster.rollup_scopes s WHERE s.dimension_id = d.id AND s.value_hash = muster.hash_of(v.value));
    WITH scope AS MATERIALIZED (
        SELECT v.name, v.value, s.id
          FROM unnest(v_names, v_values) v(name, value)
          JOIN muster.rollup_dimensions d ON d.project_id = p_state.project_id AND d.name = v.name
          JOIN muster.rollup_scopes s ON s.dimension_id = d.id AND s.value_hash = muster.hash_of(v.value)
    ), fixed AS MATERIALIZED (
        SELECT max(id) FILTER (WHERE name = 'all') AS all_id, max(id) FILTER (WHERE name = 'userId') AS nobody_id FROM scope
    )
    SELECT array_agg(ROW(g.session_id, g.user_id, g.day, g.events, g.first_at, g.last_at,
               CASE WHEN g.user_id IS NULL THEN ARRAY[f.all_id, t.id, a.id, f.nobody_id] ELSE ARRAY[f.all_id, t.id, a.id] END
               || CASE WHEN p_state.keys = '{}' THEN '{}' ELSE ARRAY(
                      SELECT s.id FROM unnest(p_state.keys, g.key_values) k(key, value)
                        JOIN scope s ON s.name = 'data.' || k.key AND s.value IS NOT DISTINCT FROM k.value) END)::muster.rollup_part)
      INTO v_parts
      FROM unnest(p_groups) g CROSS JOIN fixed f
      JOIN scope t ON t.name = 'eventType' AND t.value = g.event_type
      JOIN scope a ON a.name = 'area' AND a.value = g.area;
    RETURN v_parts;
END
$$;

-- Brings the rollups of sessions from what they held, p_kept and p_removed, to what they hold, p_kept and p_added. Together that
-- must be all that is folded of each session, but for long ones, of which it is the difference alone.
CREATE FUNCTION muster.change_sessions(p_state muster.rollup_state, p_kept muster.rollup_part[], p_removed muster.rollup_part[],
                                       p_added muster.rollup_part[]) RETURNS void
LANGUAGE sql SET work_mem = '64MB' AS $$
    WITH grouped AS MATERIALIZED (
        SELECT g.*, 1 AS was, 1 AS now FROM unnest(p_kept) g
        UNION ALL SELECT g.*, 1, 0 FROM unnest(p_removed) g
        UNION ALL SELECT g.*, 0, 1 FROM unnest(p_added) g
    ), piece AS (
        SELECT s.scope_id, g.session_id, g.day, g.events, g.first_at, g.last_at, g.was, g.now
          FROM grouped g, unnest(g.scopes) AS s(scope_id)
        UNION ALL
        SELECT d.scope_id, d.session_id, d.day, d.events, d.first_at, d.last_at, 1, 1
          FROM (SELECT DISTINCT session_id FROM grouped) t
          JOIN muster.rollup_session_days d ON d.project_id = p_state.project_id AND d.session_id = t.session_id
    ), session_day AS MATERIALIZED (
        SELECT d.*,
               lag(day) OVER (PARTITION BY scope_id, session_id, is_now ORDER BY day) AS now_previous,
               lag(day) OVER (PARTITION BY scope_id, session_id, is_before ORDER BY day) AS was_previous
          FROM (SELECT scope_id, session_id, day, sum(events * was) AS was_events, sum(events * now) AS now_events,
                       bool_or(was = 1) AS is_before, bool_or(now = 1) AS is_now,
                       min(first_at) FILTER (WHERE was = 1) AS was_first, max(last_at) FILTER (WHERE was = 1) AS was_last,
                       min(first_at) FILTER (WHERE now = 1) AS now_first, max(last_at) FILTER (WHERE now = 1) AS now_last
                  FROM piece GROUP BY scope_id, session_id, day) d
    ), session AS MATERIALIZED (
        SELECT scope_id, session_id, sum(was_events) AS was_events, sum(now_events) AS now_events,
               min(was_first) AS was_first, max(was_last) AS was_last, min(now_first) AS now_first, max(now_last) AS now_last,
               min(day) FILTER (WHERE is_before) AS was_first_day, max(day) FILTER (WHERE is_before) AS was_last_day,
               min(day) FILTER (WHERE is_now) AS now_first_day, max(day) FILTER (WHERE is_now) AS now_last_day
          FROM session_day GROUP BY scope_id, session_id
    ), days AS (
        INSERT INTO muster.rollup_days AS r (scope_id, day, dimension_id, events, users, sessions)
        SELECT d.scope_id, d.day, s.dimension_id, d.events, 0, d.sessions
          FROM (SELECT scope_id, day, sum(now_events - was_events) AS events, sum(is_now::integer - is_before::integer) AS sessions
                  FROM session_day GROUP BY scope_id, day) d
          JOIN muster.rollup_scopes s ON s.id = d.scope_id
         WHERE d.events <> 0 OR d.sessions <> 0 ORDER BY 1, 2
        ON CONFLICT (scope_id, day) DO UPDATE SET events = r.events + excluded.events, sessions = r.sessions + excluded.sessions
    ), returns AS (
        INSERT INTO muster.rollup_returns AS r (scope_id, kind, day, previous_day, entities)
        SELECT scope_id, 's', day, previous_day, sum(sign)
          FROM (SELECT scope_id, day, coalesce(now_previous, '-infinity') AS previous_day, 1 AS sign FROM session_day WHERE is_now
                UNION ALL
                SELECT scope_id, day, coalesce(was_previous, '-infinity'), -1 FROM session_day WHERE is_before) c
         GROUP BY scope_id, day, previous_day HAVING sum(sign) <> 0 ORDER BY 1, 3, 4
        ON CONFLICT (scope_id, kind, day, previous_day) DO UPDATE SET entities = r.entities + excluded.entities
    ), spans AS (
        INSERT INTO muster.rollup_session_spans AS r (scope_id, first_day, last_day, sessions, micros, bounces)
        SELECT scope_id, first_day, last_day, sum(sign), sum(sign * micros), sum(sign * bounce)
          FROM (SELECT 1 AS sign, scope_id, now_first_day AS first_day, now_last_day AS last_day, (now_events = 1)::integer AS bounce,
                       (extract(epoch FROM now_last - now_first) * 1000000)::bigint AS micros
                  FROM session WHERE now_events > 0
                UNION ALL
                SELECT -1, scope_id, was_first_day, was_last_day, (was_events = 1)::integer,
                       (extract(epoch FROM was_last - was_first) * 1000000)::bigint
                  FROM session WHERE was_events > 0) s
         GROUP BY scope_id, first_day, last_day
        HAVING sum(sign) <> 0 OR sum(sign * micros) <> 0 OR sum(sign * bounce) <> 0 ORDER BY 1, 2, 3
        ON CONFLICT (scope_id, first_day, last_day) DO UPDATE SET sessions = r.sessions + excluded.sessions,
               micros = r.micros + excluded.micros, bounces = r.bounces + excluded.bounces
    ), long AS (
        INSERT INTO muster.rollup_long_sessions AS l (project_id, session_id, first_day, last_day)
        SELECT p_state.project_id, s.session_id, s.now_first_day, s.now_last_day
          FROM session s JOIN muster.rollup_scopes r ON r.id = s.scope_id JOIN muster.rollup_dimensions d ON d.id = r.dimension_id
         WHERE d.name = 'all' AND (s.now_first_day < s.now_last_day OR s.now_events > muster.long_session()) ORDER BY 2
        ON CONFLICT (project_id, session_id) DO UPDATE SET first_day = excluded.first_day, last_day = excluded.last_day
         WHERE (l.first_day, l.last_day) <> (excluded.first_day, excluded.last_day)
    ), is_long AS (
        SELECT session_id FROM session GROUP BY session_id
        HAVING max(now_events) > muster.long_session() OR min(now_first_day) < max(now_last_day)
        UNION SELECT d.session_id FROM (SELECT DISTINCT session_id FROM grouped) t
          JOIN muster.rollup_session_days d ON d.project_id = p_state.project_id AND d.session_id = t.session_id
    ), kept_days AS (
        INSERT INTO muster.rollup_session_days AS r (project_id, session_id, scope_id, day, events, first_at, last_at)
        SELECT p_state.project_id, session_id, scope_id, day, now_events, now_first, now_last
          FROM session_day JOIN is_long USING (session_id) WHERE is_now ORDER BY 2, 3, 4
        ON CONFLICT (project_id, session_id, scope_id, day) DO UPDATE SET
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

-- Adds events to the days of their users.
CREATE FUNCTION muster.add_to_users(p_state muster.rollup_state, p_added muster.rollup_part[]) RETURNS void
LANGUAGE sql SET work_mem = '64MB' AS $$
    WITH added AS MATERIALIZED (
        SELECT g.* FROM unnest(p_added) g WHERE g.user_id IS NOT NULL
    ), added_day AS MATERIALIZED (
        SELECT user_id, day, sum(events) AS events, min(first_at) AS first_at FROM added GROUP BY user_id, day
    ), touched AS MATERIALIZED (
        SELECT user_id, min(day) AS since FROM added_day GROUP BY user_id
    ), kept AS MATERIALIZED (
        SELECT r.user_id, r.day, r.events, r.first_at, r.scopes, r.last_days
          FROM touched t JOIN muster.rollup_user_days r ON r.project_id = p_state.project_id AND r.user_id = t.user_id AND r.day >= t.since
    ), base AS MATERIALIZED (
        SELECT t.user_id, b.first_at, b.scopes, b.last_days
          FROM touched t CROSS JOIN LATERAL (
              SELECT r.first_at, r.scopes, r.last_days FROM muster.rollup_user_days r
               WHERE r.project_id = p_state.project_id AND r.user_id = t.user_id AND r.day < t.since ORDER BY r.day DESC LIMIT 1) b
    ), activity AS MATERIALIZED (
        SELECT a.*, lag(day) OVER (PARTITION BY user_id, scope_id ORDER BY day) AS now_previous,
               lag(day) OVER (PARTITION BY user_id, scope_id, is_before ORDER BY day) AS was_previous
          FROM (SELECT user_id, scope_id, day, bool_or(is_before) AS is_before, bool_or(is_base) AS is_base
                  FROM (SELECT g.user_id, s.scope_id, g.day, false AS is_before, false AS is_base
                          FROM added g, unnest(g.scopes) AS s(scope_id)
                        UNION ALL
                        SELECT k.user_id, s.scope_id, k.day, true, false
                          FROM kept k, unnest(k.scopes, k.last_days) AS s(scope_id, last_day) WHERE s.last_day = k.day
                        UNION ALL
                        SELECT b.user_id, s.scope_id, s.last_day, true, true
                          FROM base b, unnest(b.scopes, b.last_days) AS s(scope_id, last_day)) u
                 GROUP BY user_id, scope_id, day) a
    ), days AS (
        INSERT INTO muster.rollup_days AS r (scope_id, day, dimension_id, events, users, sessions)
        SELECT a.scope_id, a.day, s.dimension_id, 0, count(*), 0
          FROM activity a JOIN muster.rollup_scopes s ON s.id = a.scope_id WHERE NOT a.is_before
         GROUP BY a.scope_id, a.day, s.dimension_id ORDER BY 1, 2
        ON CONFLICT (scope_id, day) DO UPDATE SET users = r.users + excluded.users
    ), returns AS (
        INSERT INTO muster.rollup_returns AS r (scope_id, kind, day, previous_day, entities)
        SELECT scope_id, 'u', day, previous_day, sum(sign)
          FROM (SELECT scope_id, day, coalesce(now_previous, '-infinity') AS previous_day, 1 AS sign FROM activity WHERE NOT is_base
                UNION ALL
                SELECT scope_id, day, coalesce(was_previous, '-infinity'), -1 FROM activity WHERE is_before AND NOT is_base) c
         GROUP BY scope_id, day, previous_day HAVING sum(sign) <> 0 ORDER BY 1, 3, 4
        ON CONFLICT (scope_id, kind, day, previous_day) DO UPDATE SET entities = r.entities + excluded.entities
    ), first AS (
        SELECT user_id, min(first_at) AS first_at
          FROM (SELECT user_id, first_at FROM added_day UNION ALL SELECT user_id, first_at FROM kept
                UNION ALL SELECT user_id, first_at FROM base) f
         GROUP BY user_id
    ), rows AS (
        SELECT d.user_id, d.day, sum(d.events) AS events
          FROM (SELECT user_id, day, events FROM added_day UNION ALL SELECT user_id, day, 0 FROM kept) d GROUP BY d.user_id, d.day
    )
    INSERT INTO muster.rollup_user_days AS r (project_id, user_id, day, events, first_at, scopes, last_days)
    SELECT p_state.project_id, d.user_id, d.day, d.events, f.first_at, array_agg(d.scope_id ORDER BY d.scope_id),
           array_agg(d.last_day ORDER BY d.scope_id)
      FROM (SELECT rows.user_id, rows.day, rows.events, a.scope_id, max(a.day) AS last_day
              FROM rows JOIN activity a ON a.user_id = rows.user_id AND a.day <= rows.day
             GROUP BY rows.user_id, rows.day, rows.events, a.scope_id) d
      JOIN first f USING (user_id)
     GROUP BY d.user_id, d.day, d.events, f.first_at ORDER BY 2, 3
    ON CONFLICT (project_id, user_id, day) DO UPDATE SET events = r.events + excluded.events, first_at = excluded.first_at,
           scopes = excluded.scopes, last_days = excluded.last_days
     WHERE excluded.events > 0 OR (r.first_at, r.scopes, r.last_days) IS DISTINCT FROM
                                  (excluded.first_at, excluded.scopes, excluded.last_days)
$$;

-- Takes users' days away.
CREATE FUNCTION muster.remove_users(p_state muster.rollup_state, p_user_ids text[]) RETURNS void
LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM muster.rollup_user_days r WHERE r.project_id = p_state.project_id AND r.user_id = ANY (p_user_ids)
        RETURNING r.user_id, r.day, r.scopes, r.last_days
    ), sessions AS (
        DELETE FROM muster.rollup_user_sessions r WHERE r.project_id = p_state.project_id AND r.user_id = ANY (p_user_ids)
    ), activity AS MATERIALIZED (
        SELECT s.scope_id, g.day, coalesce(lag(g.day) OVER (PARTITION BY g.user_id, s.scope_id ORDER BY g.day), '-infinity') AS previous_day
          FROM gone g, unnest(g.scopes, g.last_days) AS s(scope_id, last_day) WHERE s.last_day = g.day
    ), days AS (
        UPDATE muster.rollup_days r SET users = r.users - a.users
          FROM (SELECT scope_id, day, count(*) AS users FROM activity GROUP BY scope_id, day) a
         WHERE r.scope_id = a.scope_id AND r.day = a.day
    )
    UPDATE muster.rollup_returns r SET entities = r.entities - a.users
      FROM (SELECT scope_id, day, previous_day, count(*) AS users FROM activity GROUP BY scope_id, day, previous_day) a
     WHERE r.scope_id = a.scope_id AND r.kind = 'u' AND r.day = a.day AND r.previous_day = a.previous_day
$$;

-- What is folded of sessions, or of users in them where p_user_ids is not null; long sessions only where p_long says so.
CREATE FUNCTION muster.folded_groups(p_state muster.rollup_state, p_session_ids uuid[], p_user_ids text[], p_long boolean)
RETURNS muster.rollup_group[]
LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    SELECT array_agg(ROW(g.*)::muster.rollup_group) FROM (
        SELECT e.session_id, e.user_id, e.event_type, e.area, k.key_values, muster.day_of(e.occurred_at, p_state.time_zone) AS day,
               count(*) AS events, min(e.occurred_at) AS first_at, max(e.occurred_at) AS last_at
          FROM (SELECT DISTINCT id FROM unnest(p_session_ids) AS t(id)) t
          LEFT JOIN muster.analytics_sessions s ON s.project_id = p_state.project_id AND s.id = t.id
          CROSS JOIN LATERAL (
              SELECT e.* FROM muster.analytics_events e
               WHERE e.project_id = p_state.project_id AND e.session_id = t.id
                 -- All of a session's events lie between these, and so in few partitions.
                 AND e.occurred_at BETWEEN coalesce(s.started_at, '-infinity') AND coalesce(s.last_seen_at, 'infinity')
                 AND e.xid < coalesce(p_state.watermark, p_state.rebuild_to)
                 AND e.occurred_at < coalesce(p_state.rebuilt_before, 'infinity') OFFSET 0) e
          CROSS JOIN LATERAL (SELECT CASE WHEN p_state.keys = '{}' THEN '{}' ELSE
                                     ARRAY(SELECT e.data ->> k FROM unnest(p_state.keys) k) END AS key_values) k
         WHERE (p_user_ids IS NULL OR e.user_id = ANY (p_user_ids))
           AND (p_long OR NOT EXISTS (SELECT FROM muster.rollup_long_sessions l
                                       WHERE l.project_id = p_state.project_id AND l.session_id = t.id))
         GROUP BY 1, 2, 3, 4, 5, 6) g
$$;
