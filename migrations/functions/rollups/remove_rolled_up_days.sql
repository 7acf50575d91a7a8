-- Removes the days before p_before from the roll-ups without reading their events. The caller has locked the project's state. For
-- users and sessions that stay active, the first day from p_before on becomes the first active day.
CREATE OR REPLACE FUNCTION muster.remove_rolled_up_days(p_state muster.rollup_state, p_before date) RETURNS void
LANGUAGE plpgsql SET work_mem = '64MB' AS $$
DECLARE
    v_project_id CONSTANT uuid := p_state.project_id;
    v_dimensions CONSTANT integer[] := ARRAY(SELECT id FROM muster.rollup_dimensions WHERE project_id = v_project_id);
    v_value_ids CONSTANT integer[] := ARRAY(SELECT DISTINCT value_id FROM muster.rollup_days
                                          WHERE dimension_id = ANY (v_dimensions) AND day < p_before);
    v_users CONSTANT text[] := ARRAY(SELECT DISTINCT user_id FROM muster.rollup_user_days
                                      WHERE project_id = v_project_id AND day < p_before);
    v_sessions CONSTANT uuid[] := ARRAY(SELECT session_id FROM muster.rollup_long_sessions
                                         WHERE project_id = v_project_id AND first_day < p_before);
    v_first_day date;
BEGIN
    IF v_value_ids = '{}' THEN
        RETURN;
    END IF;
    -- Sessions that continue after p_before are reduced to their events after it. They have several days, so their days are stored.
    DELETE FROM muster.rollup_session_spans WHERE value_id = ANY (v_value_ids) AND first_day < p_before;
    INSERT INTO muster.rollup_session_spans AS r (value_id, first_day, last_day, sessions, micros, bounces)
    SELECT s.value_id, s.first_day, s.last_day, count(*), sum((extract(epoch FROM s.last_at - s.first_at) * 1000000)::bigint),
           count(*) FILTER (WHERE s.events = 1)
      FROM (SELECT d.value_id, min(d.day) FILTER (WHERE d.day >= p_before) AS first_day, max(d.day) AS last_day,
                   min(d.first_at) FILTER (WHERE d.day >= p_before) AS first_at, max(d.last_at) AS last_at,
                   sum(d.events) FILTER (WHERE d.day >= p_before) AS events
              FROM muster.rollup_session_days d
             WHERE d.project_id = v_project_id AND d.session_id = ANY (v_sessions)
             GROUP BY d.value_id, d.session_id
            HAVING min(d.day) < p_before AND max(d.day) >= p_before) s
     GROUP BY s.value_id, s.first_day, s.last_day ORDER BY 1, 2, 3
    ON CONFLICT (value_id, first_day, last_day) DO UPDATE SET sessions = r.sessions + excluded.sessions,
           micros = r.micros + excluded.micros, bounces = r.bounces + excluded.bounces;
    DELETE FROM muster.rollup_session_days WHERE project_id = v_project_id AND session_id = ANY (v_sessions) AND day < p_before;
    DELETE FROM muster.rollup_long_sessions WHERE project_id = v_project_id AND last_day < p_before;
    UPDATE muster.rollup_long_sessions l
       SET first_day = (SELECT min(d.day) FROM muster.rollup_session_days d
                         WHERE d.project_id = v_project_id AND d.session_id = l.session_id)
     WHERE l.project_id = v_project_id AND l.session_id = ANY (v_sessions);

    DELETE FROM muster.rollup_returning_activity WHERE value_id = ANY (v_value_ids) AND kind IN ('u', 's') AND day < p_before;
    WITH returned AS (
        -- Search by the remaining days: that is one lookup for each, instead of one for every earlier day.
        DELETE FROM muster.rollup_returning_activity r USING muster.rollup_days d
         WHERE d.value_id = ANY (v_value_ids) AND d.day >= p_before AND r.value_id = d.value_id AND r.kind IN ('u', 's')
           AND r.day = d.day AND r.previous_day > '-infinity' AND r.previous_day < p_before
        RETURNING r.value_id, r.kind, r.day, r.entities
    )
    INSERT INTO muster.rollup_returning_activity AS r (value_id, kind, day, previous_day, entities)
    SELECT value_id, kind, day, '-infinity', sum(entities) FROM returned GROUP BY value_id, kind, day ORDER BY 1, 2, 3
    ON CONFLICT (value_id, kind, day, previous_day) DO UPDATE SET entities = r.entities + excluded.entities;
    DELETE FROM muster.rollup_days WHERE dimension_id = ANY (v_dimensions) AND day < p_before;
    DELETE FROM muster.rollup_dimension_values s WHERE s.id = ANY (v_value_ids) AND NOT EXISTS (SELECT FROM muster.rollup_days d WHERE d.value_id = s.id);

    DELETE FROM muster.rollup_user_days WHERE project_id = v_project_id AND day < p_before;
    DELETE FROM muster.rollup_user_sessions WHERE project_id = v_project_id AND user_id = ANY (v_users) AND last_day < p_before;
    UPDATE muster.rollup_user_sessions SET first_day = p_before
     WHERE project_id = v_project_id AND user_id = ANY (v_users) AND first_day < p_before;
    WITH remaining AS MATERIALIZED (
        SELECT u.user_id, min(u.day) AS day FROM muster.rollup_user_days u
         WHERE u.project_id = v_project_id AND u.user_id = ANY (v_users) GROUP BY u.user_id
    ), first AS MATERIALIZED (
        SELECT k.user_id, min(e.first_at) AS first_at
          FROM remaining k
          JOIN muster.rollup_user_sessions s
            ON s.project_id = v_project_id AND s.user_id = k.user_id AND s.first_day <= k.day AND s.last_day >= k.day
         CROSS JOIN LATERAL (
               SELECT min(e.occurred_at) AS first_at FROM muster.analytics_events e
                WHERE e.project_id = v_project_id AND e.session_id = s.session_id AND e.user_id = k.user_id
                  AND e.occurred_at >= muster.day_start(k.day, p_state.time_zone)
                  AND e.occurred_at < muster.day_start(k.day + 1, p_state.time_zone)
                  AND e.xid < coalesce(p_state.watermark, p_state.rebuild_to)
                  AND e.occurred_at < coalesce(p_state.rebuilt_before, 'infinity') OFFSET 0) e
         GROUP BY k.user_id
    )
    UPDATE muster.rollup_user_days u
       SET first_at = f.first_at,
           (value_ids, last_days) = (
               SELECT array_agg(s.value_id ORDER BY s.value_id), array_agg(s.last_day ORDER BY s.value_id)
                 FROM unnest(u.value_ids, u.last_days) s(value_id, last_day) WHERE s.last_day >= p_before)
      FROM first f WHERE u.project_id = v_project_id AND u.user_id = f.user_id;

    SELECT min(d.day) INTO v_first_day
      FROM muster.rollup_dimensions n JOIN muster.rollup_dimension_values s ON s.dimension_id = n.id JOIN muster.rollup_days d ON d.value_id = s.id
     WHERE n.project_id = v_project_id AND n.name = 'all' AND d.events > 0;
    UPDATE muster.rollup_state
       SET first_at = (SELECT min(e.occurred_at) FROM muster.analytics_events e
                        WHERE e.project_id = v_project_id AND e.xid < coalesce(p_state.watermark, p_state.rebuild_to)
                          AND e.occurred_at >= muster.day_start(v_first_day, p_state.time_zone)
                          AND e.occurred_at < least(muster.day_start(v_first_day + 1, p_state.time_zone),
                                                    coalesce(p_state.rebuilt_before, 'infinity'))),
           last_at = CASE WHEN v_first_day IS NOT NULL THEN last_at END
     WHERE project_id = v_project_id AND first_at < muster.day_start(p_before, p_state.time_zone);
END
$$;
