-- Folding, and what must be told to it.

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

GRANT EXECUTE ON FUNCTION muster.rollup_watermark TO muster_reader, muster_admin;
GRANT EXECUTE ON FUNCTION muster.roll_forward TO muster_reader, muster_admin;
GRANT EXECUTE ON FUNCTION muster.reset_rollups, muster.delete_events TO muster_admin;
