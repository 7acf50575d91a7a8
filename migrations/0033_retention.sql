-- Retention: what is older than a project keeps goes, in whole days of its time zone, since rollups know no part of one.

-- What is kept of the projects that do not keep all: from the day on that holds the moment so many days ago. No event is older than
-- a hundred years.
CREATE FUNCTION muster.kept_days() RETURNS TABLE (project_id uuid, retention_days integer, time_zone text, first_day date, kept_from timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT p.id, p.retention_days, z.time_zone, d.first_day, muster.day_start(d.first_day, z.time_zone)
      FROM muster.projects p LEFT JOIN muster.rollup_state s ON s.project_id = p.id
     CROSS JOIN LATERAL (SELECT coalesce(s.time_zone, p.time_zone) AS time_zone) z
     CROSS JOIN LATERAL (
           SELECT muster.day_of(now() - least(p.retention_days, 36500) * interval '24 hours', z.time_zone) AS first_day) d
     WHERE p.retention_days IS NOT NULL
$$;

-- Takes a project's days before p_before away: events, the sessions that end with them, and what is folded of them, in one
-- transaction. Events of p_partition, whose month is from p_from to p_to, are not deleted, for it is dropped; then p_before is null,
-- and the first day that begins after the month is meant. Left to the caller are the sessions that go on, and how many events each
-- has lost: ingest may be writing to them, and must not wait for all else.
CREATE FUNCTION muster.forget_events(p_project_id uuid, p_before date, p_partition regclass, p_from timestamptz, p_to timestamptz,
                                     OUT events bigint, OUT sessions bigint, OUT session_ids uuid[], OUT counts bigint[])
LANGUAGE plpgsql SET work_mem = '64MB' AS $$
DECLARE
    v_state CONSTANT muster.rollup_state := muster.hold_rollups(p_project_id);
    v_before date := (SELECT least(k.first_day, p_before, muster.day_of(p_to - interval '1 microsecond', k.time_zone) + 1)
                        FROM muster.kept_days() k WHERE k.project_id = p_project_id);
    v_kept_from CONSTANT timestamptz := muster.day_start(v_before, v_state.time_zone);
BEGIN
    events := 0;
    sessions := 0;
    IF v_before IS NULL OR v_kept_from < p_to THEN
        RETURN; -- kept longer than when we were sent
    END IF;
    -- As literals, so that no other partition is looked at.
    EXECUTE format($q$
        WITH deleted AS (
            DELETE FROM muster.analytics_events WHERE project_id = %1$L AND occurred_at < %2$L %3$s RETURNING session_id
        ), gone AS (SELECT session_id FROM deleted %4$s)
        SELECT array_agg(session_id), array_agg(number), coalesce(sum(number), 0)
          FROM (SELECT session_id, count(*) AS number FROM gone GROUP BY session_id ORDER BY session_id) g $q$,
        p_project_id, v_kept_from,
        CASE WHEN p_partition IS NOT NULL THEN format('AND (occurred_at < %L OR occurred_at >= %L)', p_from, p_to) END,
        CASE WHEN p_partition IS NOT NULL THEN
             format('UNION ALL SELECT session_id FROM %s WHERE project_id = %L', p_partition, p_project_id) END)
        INTO session_ids, counts, events;
    PERFORM muster.forget_days(v_state, v_before);
    -- In the order in which ingest takes them; then as they are once nobody else holds them.
    PERFORM FROM muster.analytics_sessions
      WHERE project_id = p_project_id AND id = ANY (session_ids) AND last_seen_at < v_kept_from ORDER BY id FOR UPDATE;
    DELETE FROM muster.analytics_sessions s USING unnest(session_ids) t(id)
     WHERE s.project_id = p_project_id AND s.id = t.id AND s.last_seen_at < v_kept_from;
    GET DIAGNOSTICS sessions = ROW_COUNT;
    SELECT array_agg(t.id), array_agg(t.number) INTO session_ids, counts
      FROM unnest(session_ids, counts) t(id, number)
      JOIN muster.analytics_sessions s ON s.project_id = p_project_id AND s.id = t.id;
END
$$;

-- Counts less events in sessions. What ingest adds to them meanwhile is of another transaction, and is counted.
CREATE FUNCTION muster.lower_counts(p_project_id uuid, p_session_ids uuid[], p_counts bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM muster.analytics_sessions WHERE project_id = p_project_id AND id = ANY (p_session_ids) ORDER BY id FOR UPDATE;
    UPDATE muster.analytics_sessions s SET events_count = s.events_count - t.number FROM unnest(p_session_ids, p_counts) t(id, number)
     WHERE s.project_id = p_project_id AND s.id = t.id;
END
$$;

-- The same for what no partition is dropped for, up to p_before at most; a step is one or some days.
CREATE FUNCTION muster.expire_events(p_project_id uuid, p_before date, OUT events bigint, OUT sessions bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_ids uuid[];
    v_counts bigint[];
BEGIN
    SELECT f.events, f.sessions, f.session_ids, f.counts INTO events, sessions, v_ids, v_counts
      FROM muster.forget_events(p_project_id, p_before, NULL, NULL, NULL) f;
    PERFORM muster.lower_counts(p_project_id, v_ids, v_counts);
END
$$;

-- What is old beside events: sessions that hold none, rejections and what was ignored; at most p_most of each.
CREATE FUNCTION muster.expire_rows(p_project_id uuid, p_most integer, OUT sessions bigint, OUT rejections bigint, OUT ignored bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_kept_from CONSTANT timestamptz := (SELECT k.kept_from FROM muster.kept_days() k WHERE k.project_id = p_project_id);
    v_ids uuid[];
BEGIN
    -- No index would find them: kept up to date by every batch, it would cost more than it spares once a day.
    v_ids := ARRAY(SELECT s.id FROM muster.analytics_sessions s
                    WHERE s.project_id = p_project_id AND s.last_seen_at < v_kept_from
                      AND NOT EXISTS (SELECT FROM muster.analytics_events e
                                       WHERE e.project_id = s.project_id AND e.session_id = s.id
                                         AND e.occurred_at BETWEEN s.started_at AND s.last_seen_at) LIMIT p_most);
    -- Held first, then looked at once more: an import may just have brought an event.
    PERFORM FROM muster.analytics_sessions WHERE project_id = p_project_id AND id = ANY (v_ids) ORDER BY id FOR UPDATE;
    DELETE FROM muster.analytics_sessions s
     WHERE s.project_id = p_project_id AND s.id = ANY (v_ids) AND s.last_seen_at < v_kept_from
       AND NOT EXISTS (SELECT FROM muster.analytics_events e
                        WHERE e.project_id = s.project_id AND e.session_id = s.id
                          AND e.occurred_at BETWEEN s.started_at AND s.last_seen_at);
    GET DIAGNOSTICS sessions = ROW_COUNT;
    DELETE FROM muster.analytics_rejections WHERE id IN (
        SELECT r.id FROM muster.analytics_rejections r
         WHERE r.project_id = p_project_id AND r.received_at < v_kept_from AND r.last_received_at < v_kept_from
         ORDER BY r.id LIMIT p_most);
    GET DIAGNOSTICS rejections = ROW_COUNT;
    DELETE FROM muster.analytics_ignored i WHERE i.ctid = ANY (ARRAY(
        SELECT o.ctid FROM muster.analytics_ignored o WHERE o.project_id = p_project_id AND o.occurred_at < v_kept_from LIMIT p_most));
    GET DIAGNOSTICS ignored = ROW_COUNT;
END
$$;

-- The partitions that no project keeps anything of, the oldest first. Those that ensure_partitions would make again are left.
CREATE FUNCTION muster.expired_partitions() RETURNS TABLE (name text, from_at timestamptz, to_at timestamptz, project_ids uuid[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
BEGIN
    FOR name, from_at, to_at IN
        SELECT m.name, m.month AT TIME ZONE 'UTC', (m.month + interval '1 month') AT TIME ZONE 'UTC'
          FROM (SELECT p.relname::text AS name, to_date(right(p.relname, 7), 'YYYY_MM')::timestamp AS month
                  FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhrelid
                 WHERE h.inhparent = 'muster.analytics_events'::regclass AND p.relname ~ '^analytics_events_[0-9]{4}_[0-9]{2}$') m
         WHERE m.month < date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month' ORDER BY m.month
    LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM muster.kept_days() k WHERE k.kept_from >= to_at);
        -- From one project to the next, and not through all of its events.
        EXECUTE format($q$
            WITH RECURSIVE found AS (
                (SELECT e.project_id FROM muster.%1$I e ORDER BY e.project_id LIMIT 1)
                UNION ALL
                SELECT (SELECT e.project_id FROM muster.%1$I e WHERE e.project_id > f.project_id ORDER BY e.project_id LIMIT 1)
                  FROM found f WHERE f.project_id IS NOT NULL)
            SELECT coalesce(array_agg(project_id ORDER BY project_id), '{}') FROM found WHERE project_id IS NOT NULL $q$, name) INTO project_ids;
        CONTINUE WHEN EXISTS (SELECT FROM unnest(project_ids) p(id)
                               WHERE NOT EXISTS (SELECT FROM muster.kept_days() k WHERE k.project_id = p.id AND k.kept_from >= to_at));
        RETURN NEXT;
    END LOOP;
END
$$;

-- Drops such a partition, after what is folded of it, and the sessions that end with it; answers what went of each project. Nobody
-- waits for it: until the end it holds back only who writes into that month. Then it needs the whole table for a moment, and waits in
-- line for that for no longer than ingest may wait behind it; where others do not let it in (lock_not_available), nothing has changed.
CREATE FUNCTION muster.expire_partition(p_name text) RETURNS TABLE (project_id uuid, events bigint, sessions bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_found record;
    v_ids uuid[];
    v_counts bigint[];
    v_projects uuid[] := '{}'; -- of each session that goes on,
    v_going_on uuid[] := '{}'; -- the sessions,
    v_less bigint[] := '{}'; -- and what they lose
    v_tries integer := 0;
BEGIN
    SELECT x.* INTO v_found FROM muster.expired_partitions() x WHERE x.name = p_name;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- Before the partition, as who erases does it.
    FOREACH project_id IN ARRAY v_found.project_ids LOOP
        PERFORM muster.hold_rollups(project_id);
    END LOOP;
    EXECUTE format('LOCK TABLE muster.%I IN SHARE ROW EXCLUSIVE MODE', p_name);
    -- Now nobody adds to it.
    SELECT x.* INTO v_found FROM muster.expired_partitions() x WHERE x.name = p_name;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    FOREACH project_id IN ARRAY v_found.project_ids LOOP
        SELECT f.events, f.sessions, f.session_ids, f.counts INTO events, sessions, v_ids, v_counts
          FROM muster.forget_events(project_id, NULL, format('muster.%I', p_name)::regclass, v_found.from_at, v_found.to_at) f;
        IF events = 0 THEN
            RAISE object_in_use USING MESSAGE = 'A project has come to keep the partition''s events.';
        END IF;
        v_projects := v_projects || array_fill(project_id, ARRAY[coalesce(cardinality(v_ids), 0)]);
        v_going_on := v_going_on || v_ids;
        v_less := v_less || v_counts;
        RETURN NEXT;
    END LOOP;
    PERFORM set_config('lock_timeout', '20ms', true);
    LOOP
        BEGIN
            LOCK TABLE ONLY muster.analytics_events IN ACCESS EXCLUSIVE MODE;
            PERFORM muster.lower_counts(t.id, array_agg(t.session_id), array_agg(t.number))
               FROM unnest(v_projects, v_going_on, v_less) t(id, session_id, number) GROUP BY t.id ORDER BY t.id;
            EXECUTE format('DROP TABLE muster.%I', p_name);
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            v_tries := v_tries + 1;
            IF v_tries = 50 THEN
                RAISE;
            END IF;
        END;
        PERFORM pg_sleep(0.1);
    END LOOP;
END
$$;

GRANT EXECUTE ON FUNCTION muster.kept_days, muster.expire_events, muster.expire_rows, muster.expired_partitions, muster.expire_partition
   TO muster_admin;
