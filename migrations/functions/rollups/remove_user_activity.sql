-- Removes all activity of users from the roll-ups.
CREATE OR REPLACE FUNCTION muster.remove_user_activity(p_state muster.rollup_state, p_user_ids text[]) RETURNS void
LANGUAGE sql AS $$
    WITH deleted AS (
        DELETE FROM muster.rollup_user_days r WHERE r.project_id = p_state.project_id AND r.user_id = ANY (p_user_ids)
        RETURNING r.user_id, r.day, r.value_ids, r.last_days
    ), sessions AS (
        DELETE FROM muster.rollup_user_sessions r WHERE r.project_id = p_state.project_id AND r.user_id = ANY (p_user_ids)
    ), activity AS MATERIALIZED (
        SELECT s.value_id, g.day, coalesce(lag(g.day) OVER (PARTITION BY g.user_id, s.value_id ORDER BY g.day), '-infinity') AS previous_day
          FROM deleted g, unnest(g.value_ids, g.last_days) AS s(value_id, last_day) WHERE s.last_day = g.day
    ), days AS (
        UPDATE muster.rollup_days r SET users = r.users - a.users
          FROM (SELECT value_id, day, count(*) AS users FROM activity GROUP BY value_id, day) a
         WHERE r.value_id = a.value_id AND r.day = a.day
    )
    UPDATE muster.rollup_returning_activity r SET entities = r.entities - a.users
      FROM (SELECT value_id, day, previous_day, count(*) AS users FROM activity GROUP BY value_id, day, previous_day) a
     WHERE r.value_id = a.value_id AND r.kind = 'u' AND r.day = a.day AND r.previous_day = a.previous_day
$$;
