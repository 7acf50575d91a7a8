-- Forgetting: rollups know days of a project's time zone, and so the days before one can be taken out of them as a whole, without
-- reading the events of those days.

-- What is folded of a project, held against all who fold, the first of them too.
CREATE FUNCTION muster.hold_rollups(p_project_id uuid) RETURNS muster.rollup_state
LANGUAGE plpgsql AS $$
DECLARE
    v_state muster.rollup_state;
BEGIN
    IF NOT EXISTS (SELECT FROM muster.rollup_state WHERE project_id = p_project_id) THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('muster.roll_forward ' || p_project_id, 0));
    END IF;
    SELECT s.* INTO v_state FROM muster.rollup_state s WHERE s.project_id = p_project_id FOR UPDATE;
    -- Never folded, or by another server, whose transactions' numbers say nothing of ours: the next roll-forward begins anew.
    IF v_state.system_identifier IS DISTINCT FROM (SELECT c.system_identifier FROM pg_control_system() c) THEN
        PERFORM muster.reset_rollups(p_project_id);
        SELECT s.* INTO v_state FROM muster.rollup_state s WHERE s.project_id = p_project_id;
    END IF;
    RETURN v_state;
END
$$;

-- Takes the days before p_before out of what is folded; only who holds the project's state may. Who was active before and is
-- active since was never there before: returns become first visits, and users' first events are looked up.
CREATE FUNCTION muster.forget_days(p_state muster.rollup_state, p_before date) RETURNS void
LANGUAGE plpgsql SET work_mem = '64MB' AS $$
DECLARE
    v_project CONSTANT uuid := p_state.project_id;
    v_dimensions CONSTANT integer[] := ARRAY(SELECT id FROM muster.rollup_dimensions WHERE project_id = v_project);
    v_scopes CONSTANT integer[] := ARRAY(SELECT DISTINCT scope_id FROM muster.rollup_days
                                          WHERE dimension_id = ANY (v_dimensions) AND day < p_before);
    v_users CONSTANT text[] := ARRAY(SELECT DISTINCT user_id FROM muster.rollup_user_days
                                      WHERE project_id = v_project AND day < p_before);
    v_sessions CONSTANT uuid[] := ARRAY(SELECT session_id FROM muster.rollup_long_sessions
                                         WHERE project_id = v_project AND first_day < p_before);
    v_first_day date;
BEGIN
    IF v_scopes = '{}' THEN
        RETURN;
    END IF;
    -- Sessions: those that go on are as long as what is left of them. They are of more than one day, and so their days are kept.
    DELETE FROM muster.rollup_session_spans WHERE scope_id = ANY (v_scopes) AND first_day < p_before;
    INSERT INTO muster.rollup_session_spans AS r (scope_id, first_day, last_day, sessions, micros, bounces)
    SELECT s.scope_id, s.first_day, s.last_day, count(*), sum((extract(epoch FROM s.last_at - s.first_at) * 1000000)::bigint),
           count(*) FILTER (WHERE s.events = 1)
      FROM (SELECT d.scope_id, min(d.day) FILTER (WHERE d.day >= p_before) AS first_day, max(d.day) AS last_day,
                   min(d.first_at) FILTER (WHERE d.day >= p_before) AS first_at, max(d.last_at) AS last_at,
                   sum(d.events) FILTER (WHERE d.day >= p_before) AS events
              FROM muster.rollup_session_days d
             WHERE d.project_id = v_project AND d.session_id = ANY (v_sessions)
             GROUP BY d.scope_id, d.session_id
            HAVING min(d.day) < p_before AND max(d.day) >= p_before) s
     GROUP BY s.scope_id, s.first_day, s.last_day ORDER BY 1, 2, 3
    ON CONFLICT (scope_id, first_day, last_day) DO UPDATE SET sessions = r.sessions + excluded.sessions,
           micros = r.micros + excluded.micros, bounces = r.bounces + excluded.bounces;
    DELETE FROM muster.rollup_session_days WHERE project_id = v_project AND session_id = ANY (v_sessions) AND day < p_before;
    DELETE FROM muster.rollup_long_sessions WHERE project_id = v_project AND last_day < p_before;
    UPDATE muster.rollup_long_sessions l
       SET first_day = (SELECT min(d.day) FROM muster.rollup_session_days d
                         WHERE d.project_id = v_project AND d.session_id = l.session_id)
     WHERE l.project_id = v_project AND l.session_id = ANY (v_sessions);

    DELETE FROM muster.rollup_returns WHERE scope_id = ANY (v_scopes) AND kind IN ('u', 's') AND day < p_before;
    WITH returned AS (
        -- By the days that the scopes have left: a look for each, and not at every day before.
        DELETE FROM muster.rollup_returns r USING muster.rollup_days d
         WHERE d.scope_id = ANY (v_scopes) AND d.day >= p_before AND r.scope_id = d.scope_id AND r.kind IN ('u', 's')
           AND r.day = d.day AND r.previous_day > '-infinity' AND r.previous_day < p_before
        RETURNING r.scope_id, r.kind, r.day, r.entities
    )
    INSERT INTO muster.rollup_returns AS r (scope_id, kind, day, previous_day, entities)
    SELECT scope_id, kind, day, '-infinity', sum(entities) FROM returned GROUP BY scope_id, kind, day ORDER BY 1, 2, 3
    ON CONFLICT (scope_id, kind, day, previous_day) DO UPDATE SET entities = r.entities + excluded.entities;
    DELETE FROM muster.rollup_days WHERE dimension_id = ANY (v_dimensions) AND day < p_before;
    DELETE FROM muster.rollup_scopes s WHERE s.id = ANY (v_scopes) AND NOT EXISTS (SELECT FROM muster.rollup_days d WHERE d.scope_id = s.id);

    DELETE FROM muster.rollup_user_days WHERE project_id = v_project AND day < p_before;
    DELETE FROM muster.rollup_user_sessions WHERE project_id = v_project AND user_id = ANY (v_users) AND last_day < p_before;
    UPDATE muster.rollup_user_sessions SET first_day = p_before
     WHERE project_id = v_project AND user_id = ANY (v_users) AND first_day < p_before;
    WITH kept AS MATERIALIZED (
        SELECT u.user_id, min(u.day) AS day FROM muster.rollup_user_days u
         WHERE u.project_id = v_project AND u.user_id = ANY (v_users) GROUP BY u.user_id
    ), first AS MATERIALIZED (
        SELECT k.user_id, min(e.first_at) AS first_at
          FROM kept k
          JOIN muster.rollup_user_sessions s
            ON s.project_id = v_project AND s.user_id = k.user_id AND s.first_day <= k.day AND s.last_day >= k.day
         CROSS JOIN LATERAL (
               SELECT min(e.occurred_at) AS first_at FROM muster.analytics_events e
                WHERE e.project_id = v_project AND e.session_id = s.session_id AND e.user_id = k.user_id
                  AND e.occurred_at >= muster.day_start(k.day, p_state.time_zone)
                  AND e.occurred_at < muster.day_start(k.day + 1, p_state.time_zone)
                  AND e.xid < coalesce(p_state.watermark, p_state.rebuild_to)
                  AND e.occurred_at < coalesce(p_state.rebuilt_before, 'infinity') OFFSET 0) e
         GROUP BY k.user_id
    )
    UPDATE muster.rollup_user_days u
       SET first_at = f.first_at,
           (scopes, last_days) = (
               SELECT array_agg(s.scope_id ORDER BY s.scope_id), array_agg(s.last_day ORDER BY s.scope_id)
                 FROM unnest(u.scopes, u.last_days) s(scope_id, last_day) WHERE s.last_day >= p_before)
      FROM first f WHERE u.project_id = v_project AND u.user_id = f.user_id;

    SELECT min(d.day) INTO v_first_day
      FROM muster.rollup_dimensions n JOIN muster.rollup_scopes s ON s.dimension_id = n.id JOIN muster.rollup_days d ON d.scope_id = s.id
     WHERE n.project_id = v_project AND n.name = 'all' AND d.events > 0;
    UPDATE muster.rollup_state
       SET first_at = (SELECT min(e.occurred_at) FROM muster.analytics_events e
                        WHERE e.project_id = v_project AND e.xid < coalesce(p_state.watermark, p_state.rebuild_to)
                          AND e.occurred_at >= muster.day_start(v_first_day, p_state.time_zone)
                          AND e.occurred_at < least(muster.day_start(v_first_day + 1, p_state.time_zone),
                                                    coalesce(p_state.rebuilt_before, 'infinity'))),
           last_at = CASE WHEN v_first_day IS NOT NULL THEN last_at END
     WHERE project_id = v_project AND first_at < muster.day_start(p_before, p_state.time_zone);
END
$$;
