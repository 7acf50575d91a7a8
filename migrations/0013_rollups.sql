-- What metrics are answered from without reading every event: folded up to a watermark of transaction ids, so that an answer is
-- what is folded and the few events since, in one snapshot.
--
-- An event belongs to a scope of each dimension: all of the project, its type, its area, its value of each data key that the
-- project declares, and, without a user, those of nobody. In a scope, sessions and users are active on days of the project's time
-- zone, and each active day has one before it: the distinct ones of any days are those whose day before lies before them.
-- Users' days are kept; sessions are short, so theirs are read again from their events when they go on.

-- A range of more pages: an answer looks at every range, and reads the last one.
DROP INDEX muster.analytics_events_xid;
CREATE INDEX analytics_events_xid ON muster.analytics_events USING brin (xid) WITH (pages_per_range = 128, autosummarize = on);

-- With rollups no answer needs a btree on time any more; it cost an eighth of ingest, and a fifth of its WAL.
DROP INDEX muster.analytics_events_time;
CREATE INDEX analytics_events_time ON muster.analytics_events USING brin (occurred_at) WITH (pages_per_range = 32, autosummarize = on);

DROP TABLE muster.rollup_state, muster.rollup_buckets, muster.rollup_user_days, muster.rollup_user_returns;

ALTER TABLE muster.projects ADD COLUMN rollup_keys text[] NOT NULL DEFAULT '{}'; -- keys of data to fold by

CREATE TABLE muster.rollup_state (
    project_id uuid PRIMARY KEY REFERENCES muster.projects,
    watermark bigint, -- every event of an earlier transaction is folded; null while they are folded anew
    rebuild_to bigint, -- then: the watermark to be
    rebuilt_before timestamptz, -- then: up to where, by the events' own time,
    rebuilt_until timestamptz, -- of where the last of them is
    system_identifier bigint NOT NULL, -- of the server whose transactions these are
    time_zone text NOT NULL, -- whose days were folded
    keys text[] NOT NULL, -- of data, that were folded by
    first_at timestamptz, -- of the folded events
    last_at timestamptz,
    folded_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE muster.rollup_dimensions (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES muster.projects,
    name text NOT NULL, -- all, eventType, area, data.<key>; userId, of which the one scope is nobody
    UNIQUE (project_id, name)
);

CREATE TABLE muster.rollup_scopes (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dimension_id integer NOT NULL REFERENCES muster.rollup_dimensions ON DELETE CASCADE,
    value_hash uuid NOT NULL, -- a value may be longer than an index takes
    value text,
    UNIQUE (dimension_id, value_hash)
);

CREATE TABLE muster.rollup_days (
    scope_id integer NOT NULL,
    day date NOT NULL,
    dimension_id integer NOT NULL,
    events bigint NOT NULL,
    users bigint NOT NULL,
    sessions bigint NOT NULL,
    PRIMARY KEY (scope_id, day)
) WITH (fillfactor = 80);
CREATE INDEX rollup_days_dimension ON muster.rollup_days (dimension_id, day);

CREATE TABLE muster.rollup_returns (
    scope_id integer NOT NULL,
    kind "char" NOT NULL, -- u: users, s: sessions
    day date NOT NULL,
    previous_day date NOT NULL, -- on which they were active; -infinity when there is none
    entities bigint NOT NULL,
    PRIMARY KEY (scope_id, kind, day, previous_day)
) WITH (fillfactor = 80);

CREATE TABLE muster.rollup_session_spans (
    scope_id integer NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL,
    sessions bigint NOT NULL,
    micros bigint NOT NULL, -- from each session's first event to its last
    bounces bigint NOT NULL, -- sessions of one event
    PRIMARY KEY (scope_id, first_day, last_day)
) WITH (fillfactor = 80);

-- The sessions of more than one day or of very many events: in what range they are, the spans above cannot tell, and their events
-- are not read again; their days are kept.
CREATE TABLE muster.rollup_long_sessions (
    project_id uuid NOT NULL,
    session_id uuid NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL,
    PRIMARY KEY (project_id, session_id)
) WITH (fillfactor = 80);
CREATE INDEX rollup_long_sessions_days ON muster.rollup_long_sessions (project_id, last_day, first_day);

CREATE TABLE muster.rollup_session_days (
    project_id uuid NOT NULL,
    session_id uuid NOT NULL,
    scope_id integer NOT NULL,
    day date NOT NULL,
    events bigint NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (project_id, session_id, scope_id, day)
) WITH (fillfactor = 80);

CREATE TABLE muster.rollup_user_days (
    project_id uuid NOT NULL,
    user_id text NOT NULL,
    day date NOT NULL,
    events bigint NOT NULL, -- of this day
    first_at timestamptz NOT NULL, -- of the user's first event ever
    scopes integer[] NOT NULL, -- in which the user was active up to this day,
    last_days date[] NOT NULL, -- and each one's last active day up to this one
    PRIMARY KEY (project_id, user_id, day)
) WITH (fillfactor = 80);
CREATE INDEX rollup_user_days_day ON muster.rollup_user_days (project_id, day);

-- Which sessions hold events of a user.
CREATE TABLE muster.rollup_user_sessions (
    project_id uuid NOT NULL,
    user_id text NOT NULL,
    session_id uuid NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL,
    PRIMARY KEY (project_id, user_id, session_id)
) WITH (fillfactor = 90);

-- Events of one session that are alike in all that is folded by.
CREATE TYPE muster.rollup_group AS (session_id uuid, user_id text, event_type text, area text, key_values text[], day date,
    events bigint, first_at timestamptz, last_at timestamptz);

-- From how many events on a session is long, whatever its days.
CREATE FUNCTION muster.long_session() RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT 2000 $$;

CREATE FUNCTION muster.hash_of(p_value text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_value IS NULL THEN '00000000-0000-0000-0000-000000000000'::uuid
                ELSE left(encode(sha256(convert_to(p_value, 'UTF8')), 'hex'), 32)::uuid END
$$;

-- Days are what lies between the midnights of a time zone: contiguous, though clocks may show a day's last hour twice.
CREATE FUNCTION muster.day_start(p_day date, p_zone text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT p_day::timestamp AT TIME ZONE p_zone $$;
CREATE FUNCTION muster.day_of(p_at timestamptz, p_zone text) RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- Written out, since only an expression is made part of the statement that calls it.
    SELECT (p_at AT TIME ZONE p_zone)::date
           - (p_at < (p_at AT TIME ZONE p_zone)::date::timestamp AT TIME ZONE p_zone)::integer
           + (p_at >= ((p_at AT TIME ZONE p_zone)::date + 1)::timestamp AT TIME ZONE p_zone)::integer
$$;

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

-- Up to where a project is folded; null where it is not, or by another server, whose transactions' numbers say nothing of ours.
CREATE FUNCTION muster.rollup_watermark(p_project_id uuid) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT s.watermark FROM muster.rollup_state s, pg_control_system() c
     WHERE s.project_id = p_project_id AND s.system_identifier = c.system_identifier
$$;

-- Forgets what is folded of a project; the next roll-forward begins anew, and until it is done answers come from the events.
CREATE FUNCTION muster.reset_rollups(p_project_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_scopes integer[] := ARRAY(SELECT s.id FROM muster.rollup_scopes s JOIN muster.rollup_dimensions d ON d.id = s.dimension_id
                                 WHERE d.project_id = p_project_id);
BEGIN
    -- What is of earlier transactions is visible now, so that its span is known for good.
    INSERT INTO muster.rollup_state AS s (project_id, rebuild_to, rebuilt_before, rebuilt_until, system_identifier, time_zone, keys)
    SELECT p.id, pg_snapshot_xmin(pg_current_snapshot())::text::bigint, e.first_at, e.last_at, c.system_identifier, p.time_zone,
           p.rollup_keys
      FROM muster.projects p, pg_control_system() c, LATERAL (
           SELECT coalesce(min(e.occurred_at), 'infinity') AS first_at, coalesce(max(e.occurred_at), '-infinity') AS last_at
             FROM muster.analytics_events e WHERE e.project_id = p.id) e
     WHERE p.id = p_project_id
    ON CONFLICT (project_id) DO UPDATE SET watermark = NULL, rebuild_to = excluded.rebuild_to,
           rebuilt_before = excluded.rebuilt_before, rebuilt_until = excluded.rebuilt_until,
           system_identifier = excluded.system_identifier, time_zone = excluded.time_zone, keys = excluded.keys,
           first_at = NULL, last_at = NULL, folded_at = now();
    DELETE FROM muster.rollup_days WHERE scope_id = ANY (v_scopes);
    DELETE FROM muster.rollup_returns WHERE scope_id = ANY (v_scopes);
    DELETE FROM muster.rollup_session_spans WHERE scope_id = ANY (v_scopes);
    DELETE FROM muster.rollup_long_sessions WHERE project_id = p_project_id;
    DELETE FROM muster.rollup_session_days WHERE project_id = p_project_id;
    DELETE FROM muster.rollup_user_days WHERE project_id = p_project_id;
    DELETE FROM muster.rollup_user_sessions WHERE project_id = p_project_id;
    DELETE FROM muster.rollup_dimensions WHERE project_id = p_project_id;
END
$$;

-- Folds the events of the transactions and times from what is folded to p_to_xid and p_to; answers how many.
CREATE FUNCTION muster.fold_events(p_state muster.rollup_state, p_to_xid bigint, p_to timestamptz) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_groups muster.rollup_group[];
    v_parts muster.rollup_part[];
    v_events bigint;
    v_first timestamptz;
    v_last timestamptz;
BEGIN
    -- As literals: the planner must see how few these transactions are.
    EXECUTE format($q$
        SELECT array_agg(ROW(g.*)::muster.rollup_group), sum(g.events), min(g.first_at), max(g.last_at) FROM (
            SELECT e.session_id, e.user_id, e.event_type, e.area, %s AS key_values, muster.day_of(e.occurred_at, %L) AS day,
                   count(*) AS events, min(e.occurred_at) AS first_at, max(e.occurred_at) AS last_at
              FROM muster.analytics_events e
             WHERE e.project_id = %L AND e.xid >= %s AND e.xid < %s AND e.occurred_at >= %L AND e.occurred_at < %L
             GROUP BY 1, 2, 3, 4, 5, 6) g $q$,
        CASE WHEN p_state.keys = '{}' THEN '''{}''::text[]'
             ELSE format('ARRAY(SELECT e.data ->> k FROM unnest(%L::text[]) k)', p_state.keys) END,
        p_state.time_zone, p_state.project_id, coalesce(p_state.watermark, 0), p_to_xid,
        coalesce(p_state.rebuilt_before, '-infinity'), p_to)
        INTO v_groups, v_events, v_first, v_last;
    IF v_events > 0 THEN
        v_parts := muster.parts_of(p_state, v_groups);
        v_groups := muster.folded_groups(p_state, ARRAY(SELECT DISTINCT session_id FROM unnest(v_groups)), NULL, false);
        PERFORM muster.change_sessions(p_state, muster.parts_of(p_state, v_groups), '{}', v_parts);
        PERFORM muster.add_to_users(p_state, v_parts);
        UPDATE muster.rollup_state SET first_at = least(first_at, v_first), last_at = greatest(last_at, v_last)
         WHERE project_id = p_state.project_id;
    END IF;
    RETURN coalesce(v_events, 0);
END
$$;

-- Folds what was committed since the last time, about p_most events at most; ingest and readers do not wait for it. Answers how
-- many it folded, and whether that is all; no row when another is at it, or there is no such project.
CREATE FUNCTION muster.roll_forward(p_project_id uuid, p_most integer) RETURNS TABLE (folded bigint, is_complete boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_state muster.rollup_state;
    v_horizon bigint;
    v_to bigint;
    v_before timestamptz;
    v_count bigint;
    v_folded bigint := 0;
    v_at_once CONSTANT integer := 50000; -- what one statement holds in memory
    v_step integer := least(p_most, v_at_once);
BEGIN
    IF NOT EXISTS (SELECT FROM muster.rollup_state WHERE project_id = p_project_id) THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('muster.roll_forward ' || p_project_id, 0));
        IF NOT EXISTS (SELECT FROM muster.rollup_state WHERE project_id = p_project_id) THEN
            PERFORM muster.reset_rollups(p_project_id);
        END IF;
    END IF;
    SELECT s.* INTO v_state FROM muster.rollup_state s WHERE s.project_id = p_project_id FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- Days of another time zone, other keys, or transactions of another server: nothing of it can be gone on with.
    IF NOT EXISTS (SELECT FROM muster.projects p, pg_control_system() c WHERE p.id = p_project_id AND p.time_zone = v_state.time_zone
                      AND p.rollup_keys = v_state.keys AND c.system_identifier = v_state.system_identifier) THEN
        PERFORM muster.reset_rollups(p_project_id);
        SELECT s.* INTO v_state FROM muster.rollup_state s WHERE s.project_id = p_project_id;
    END IF;
    IF v_state.watermark IS NULL THEN
        -- Anew, by the events' own time: one transaction may have brought millions.
        WHILE v_state.rebuilt_before <= v_state.rebuilt_until AND v_folded < p_most LOOP
            v_before := v_state.rebuilt_until + interval '1 microsecond';
            LOOP
                SELECT count(*) INTO v_count FROM (
                    SELECT FROM muster.analytics_events e WHERE e.project_id = p_project_id
                       AND e.occurred_at >= v_state.rebuilt_before AND e.occurred_at < v_before LIMIT v_step + 1) e;
                EXIT WHEN v_count <= v_step OR v_before <= v_state.rebuilt_before + interval '1 second';
                v_before := v_state.rebuilt_before + (v_before - v_state.rebuilt_before) / 2;
            END LOOP;
            -- Restored from another server, an event may bear a number that ours reach in years: it gets this transaction's, as
            -- the archive does it, and is folded by the next roll-forward.
            UPDATE muster.analytics_events e SET xid = pg_current_xact_id()::text::bigint
             WHERE e.project_id = p_project_id AND e.occurred_at >= v_state.rebuilt_before AND e.occurred_at < v_before
               AND e.xid > pg_current_xact_id()::text::bigint;
            v_folded := v_folded + muster.fold_events(v_state, v_state.rebuild_to, v_before);
            v_state.rebuilt_before := v_before;
        END LOOP;
        IF v_state.rebuilt_before <= v_state.rebuilt_until THEN
            UPDATE muster.rollup_state SET rebuilt_before = v_before, folded_at = now() WHERE project_id = p_project_id;
            RETURN QUERY SELECT v_folded, false;
            RETURN;
        END IF;
        v_state.watermark := v_state.rebuild_to;
        v_state.rebuild_to := NULL;
        v_state.rebuilt_before := NULL;
        v_state.rebuilt_until := NULL;
    END IF;
    v_horizon := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    WHILE v_state.watermark < v_horizon AND v_folded < p_most LOOP
        v_to := v_horizon;
        LOOP
            EXECUTE format('SELECT count(*) FROM (SELECT FROM muster.analytics_events WHERE project_id = %L AND xid >= %s AND xid < %s
                            LIMIT %s) e', p_project_id, v_state.watermark, v_to, v_at_once + 1) INTO v_count;
            EXIT WHEN v_count <= v_step OR v_to <= v_state.watermark + 1;
            v_to := v_state.watermark + (v_to - v_state.watermark) / 2;
        END LOOP;
        IF v_count > v_at_once THEN
            -- A load of its own, in one transaction: it can be cut by time alone.
            PERFORM muster.reset_rollups(p_project_id);
            RETURN QUERY SELECT v_folded, false;
            RETURN;
        END IF;
        v_folded := v_folded + muster.fold_events(v_state, v_to, 'infinity');
        v_state.watermark := v_to;
    END LOOP;
    UPDATE muster.rollup_state
       SET watermark = v_state.watermark, rebuild_to = NULL, rebuilt_before = NULL, rebuilt_until = NULL, folded_at = now()
     WHERE project_id = p_project_id;
    RETURN QUERY SELECT v_folded, v_state.watermark >= v_horizon;
END
$$;

-- Deletes a user's events of the sessions, or everyone's where p_user_id is null, and keeps the rollups exact; answers how many.
CREATE FUNCTION muster.delete_events(p_project_id uuid, p_session_ids uuid[], p_user_id text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_state muster.rollup_state;
    v_deleted bigint;
    v_removed muster.rollup_group[];
    v_sessions uuid[];
    v_users text[];
    v_first timestamptz;
    v_last timestamptz;
BEGIN
    SELECT * INTO v_state FROM muster.rollup_state WHERE project_id = p_project_id FOR UPDATE;
    WITH gone AS (
        DELETE FROM muster.analytics_events e
         WHERE e.project_id = p_project_id AND e.session_id = ANY (p_session_ids) AND (p_user_id IS NULL OR e.user_id = p_user_id)
        RETURNING e.*
    ), grouped AS (
        SELECT e.session_id, e.user_id, e.event_type, e.area,
               ARRAY(SELECT e.data ->> k FROM unnest(v_state.keys) k) AS key_values, muster.day_of(e.occurred_at, v_state.time_zone) AS day,
               count(*) AS events, min(e.occurred_at) AS first_at, max(e.occurred_at) AS last_at
          FROM gone e
         WHERE e.xid < coalesce(v_state.watermark, v_state.rebuild_to)
           AND e.occurred_at < coalesce(v_state.rebuilt_before, 'infinity')
         GROUP BY 1, 2, 3, 4, 5, 6
    )
    SELECT (SELECT count(*) FROM gone), (SELECT array_agg(ROW(g.*)::muster.rollup_group) FROM grouped g),
           ARRAY(SELECT DISTINCT session_id FROM grouped), ARRAY(SELECT DISTINCT user_id FROM grouped WHERE user_id IS NOT NULL),
           (SELECT min(first_at) FROM grouped), (SELECT max(last_at) FROM grouped)
      INTO v_deleted, v_removed, v_sessions, v_users, v_first, v_last;
    IF v_removed IS NOT NULL THEN
        DELETE FROM muster.rollup_session_days WHERE project_id = p_project_id AND session_id = ANY (v_sessions);
        DELETE FROM muster.rollup_long_sessions WHERE project_id = p_project_id AND session_id = ANY (v_sessions);
        PERFORM muster.change_sessions(v_state, muster.parts_of(v_state, muster.folded_groups(v_state, v_sessions, NULL, true)),
                                       muster.parts_of(v_state, v_removed), '{}');
        v_sessions := ARRAY(SELECT session_id FROM muster.rollup_user_sessions
                             WHERE project_id = p_project_id AND user_id = ANY (v_users));
        PERFORM muster.remove_users(v_state, v_users);
        v_removed := muster.folded_groups(v_state, v_sessions, v_users, true);
        PERFORM muster.add_to_users(v_state, muster.parts_of(v_state, v_removed));
        INSERT INTO muster.rollup_user_sessions (project_id, user_id, session_id, first_day, last_day)
        SELECT p_project_id, user_id, session_id, min(day), max(day) FROM unnest(v_removed) GROUP BY user_id, session_id;
        IF v_first <= v_state.first_at OR v_last >= v_state.last_at THEN
            UPDATE muster.rollup_state SET (first_at, last_at) = (
                SELECT min(e.occurred_at), max(e.occurred_at) FROM muster.analytics_events e
                 WHERE e.project_id = p_project_id AND e.xid < coalesce(v_state.watermark, v_state.rebuild_to)
                   AND e.occurred_at < coalesce(v_state.rebuilt_before, 'infinity'))
             WHERE project_id = p_project_id;
        END IF;
    END IF;
    UPDATE muster.analytics_sessions s
       SET events_count = (SELECT count(*) FROM muster.analytics_events e WHERE e.project_id = s.project_id AND e.session_id = s.id)
     WHERE s.project_id = p_project_id AND s.id = ANY (p_session_ids);
    RETURN v_deleted;
END
$$;

-- What a statement of metrics looks up of the events themselves. As functions, since few answers need them, and every answer would
-- pay for planning them, once for each partition; being stable, they see what the statement sees.

-- The events that are not folded yet. The plan is the one for few: what else the planner would choose for it, without knowing how
-- many they are, reads all.
CREATE FUNCTION muster.tail_events(p_project_id uuid, p_watermark bigint)
RETURNS TABLE (occurred_at timestamptz, session_id uuid, user_id text, event_type text, area text, data jsonb)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY SELECT e.occurred_at, e.session_id, e.user_id, e.event_type, e.area, e.data
      FROM muster.analytics_events e WHERE e.project_id = p_project_id AND e.xid >= p_watermark;
END
$$;

-- The users of whom an event that passes the filters is of the last 30 minutes; a client's clock may be ahead of ours, by as much
-- as ingest lets pass.
CREATE FUNCTION muster.count_active_users(p_project_id uuid, p_user_ids text[], p_event_types text[], p_areas text[], p_data jsonb)
RETURNS bigint
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    RETURN (SELECT count(DISTINCT e.user_id)
      FROM muster.analytics_events e
     WHERE e.project_id = p_project_id
       AND e.occurred_at > now() - interval '30 minutes' AND e.occurred_at <= now() + interval '24 hours'
       AND (p_user_ids IS NULL OR e.user_id = ANY (p_user_ids)) AND (p_event_types IS NULL OR e.event_type = ANY (p_event_types))
       AND (p_areas IS NULL OR e.area = ANY (p_areas))
       AND (p_data = '[]' OR (SELECT bool_and(coalesce(e.data ->> f.key = ANY (f.wanted), false))
              FROM jsonb_to_recordset(p_data) AS f(key text, wanted text[]))));
END
$$;

-- The folded events of a time that pass the filters; of users, by their sessions.
CREATE FUNCTION muster.folded_events(p_project_id uuid, p_watermark bigint, p_from timestamptz, p_to timestamptz,
    p_user_ids text[], p_event_types text[], p_areas text[], p_data jsonb)
RETURNS TABLE (occurred_at timestamptz, session_id uuid, user_id text, event_type text, area text, data jsonb)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY EXECUTE format('SELECT e.occurred_at, e.session_id, e.user_id, e.event_type, e.area, e.data FROM %s
         WHERE e.project_id = $1 AND e.xid < $2 AND e.occurred_at >= $3 AND e.occurred_at < $4
           AND ($5 IS NULL OR e.user_id = ANY ($5)) AND ($6 IS NULL OR e.event_type = ANY ($6)) AND ($7 IS NULL OR e.area = ANY ($7))
           AND ($8 = ''[]'' OR (SELECT bool_and(coalesce(e.data ->> f.key = ANY (f.wanted), false))
                  FROM jsonb_to_recordset($8) AS f(key text, wanted text[])))',
        CASE WHEN p_user_ids IS NULL THEN 'muster.analytics_events e' ELSE
            '(SELECT DISTINCT u.session_id FROM muster.rollup_user_sessions u WHERE u.project_id = $1 AND u.user_id = ANY ($5)) u
             CROSS JOIN LATERAL (SELECT * FROM muster.analytics_events x
                                  WHERE x.project_id = $1 AND x.session_id = u.session_id OFFSET 0) e' END)
        USING p_project_id, p_watermark, p_from, p_to, p_user_ids, p_event_types, p_areas, p_data;
END
$$;

-- How many they are at all times.
CREATE FUNCTION muster.count_folded(p_project_id uuid, p_watermark bigint, p_user_ids text[], p_event_types text[], p_areas text[],
    p_data jsonb) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_count bigint;
BEGIN
    IF p_user_ids IS NOT NULL THEN
        RETURN (SELECT count(*) FROM muster.folded_events(p_project_id, p_watermark, '-infinity', 'infinity', p_user_ids, p_event_types,
                                                          p_areas, p_data));
    END IF;
    EXECUTE 'SELECT count(*) FROM muster.analytics_events e WHERE e.project_id = $1 AND e.xid < $2
           AND ($3 IS NULL OR e.event_type = ANY ($3)) AND ($4 IS NULL OR e.area = ANY ($4))
           AND ($5 = ''[]'' OR (SELECT bool_and(coalesce(e.data ->> f.key = ANY (f.wanted), false))
                  FROM jsonb_to_recordset($5) AS f(key text, wanted text[])))'
        INTO v_count USING p_project_id, p_watermark, p_event_types, p_areas, p_data;
    RETURN v_count;
END
$$;

-- What is folded of one session: its events that pass the filters, ever and in a time.
CREATE FUNCTION muster.folded_session(p_project_id uuid, p_watermark bigint, p_session_id uuid, p_from timestamptz, p_to timestamptz,
    p_event_types text[], p_areas text[], p_data jsonb,
    OUT events_ever bigint, OUT events bigint, OUT first_at timestamptz, OUT last_at timestamptz)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_started timestamptz := '-infinity';
    v_seen timestamptz := 'infinity';
BEGIN
    -- All of a session's events lie between these, and so in few partitions.
    SELECT a.started_at, a.last_seen_at INTO v_started, v_seen
      FROM muster.analytics_sessions a WHERE a.project_id = p_project_id AND a.id = p_session_id;
    SELECT count(*), count(*) FILTER (WHERE e.occurred_at >= p_from AND e.occurred_at < p_to),
           min(e.occurred_at) FILTER (WHERE e.occurred_at >= p_from AND e.occurred_at < p_to),
           max(e.occurred_at) FILTER (WHERE e.occurred_at >= p_from AND e.occurred_at < p_to)
      INTO events_ever, events, first_at, last_at
      FROM muster.analytics_events e
     WHERE e.project_id = p_project_id AND e.session_id = p_session_id
       AND e.occurred_at BETWEEN coalesce(v_started, '-infinity') AND coalesce(v_seen, 'infinity') AND e.xid < p_watermark
       AND (p_event_types IS NULL OR e.event_type = ANY (p_event_types)) AND (p_areas IS NULL OR e.area = ANY (p_areas))
       AND (p_data = '[]' OR (SELECT bool_and(coalesce(e.data ->> f.key = ANY (f.wanted), false))
              FROM jsonb_to_recordset(p_data) AS f(key text, wanted text[])));
END
$$;

-- Whether a folded event of a session and a time is of a user (p_dimension is userId), or has that value of a dimension.
CREATE FUNCTION muster.has_folded(p_project_id uuid, p_watermark bigint, p_session_id uuid, p_from timestamptz, p_to timestamptz,
    p_dimension text, p_key text, p_value text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM muster.analytics_events e
         WHERE e.project_id = p_project_id AND e.session_id = p_session_id AND e.xid < p_watermark
           AND e.occurred_at >= p_from AND e.occurred_at < p_to
           AND CASE p_dimension WHEN 'eventType' THEN e.event_type WHEN 'area' THEN e.area WHEN 'userId' THEN e.user_id
                    WHEN 'data' THEN e.data ->> p_key END IS NOT DISTINCT FROM p_value);
END
$$;

GRANT EXECUTE ON FUNCTION muster.tail_events, muster.count_active_users, muster.folded_events, muster.count_folded,
      muster.folded_session, muster.has_folded TO muster_reader, muster_admin;
GRANT SELECT ON muster.rollup_state, muster.rollup_dimensions, muster.rollup_scopes, muster.rollup_days, muster.rollup_returns,
      muster.rollup_session_spans, muster.rollup_long_sessions, muster.rollup_session_days, muster.rollup_user_days,
      muster.rollup_user_sessions TO muster_reader, muster_admin;
GRANT EXECUTE ON FUNCTION muster.hash_of, muster.day_start, muster.day_of, muster.rollup_watermark TO muster_reader, muster_admin;
GRANT EXECUTE ON FUNCTION muster.roll_forward TO muster_reader, muster_admin;
GRANT EXECUTE ON FUNCTION muster.reset_rollups, muster.delete_events TO muster_admin;
