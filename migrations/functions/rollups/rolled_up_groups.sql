-- The rolled-up events of sessions in groups, read from the events. With p_user_ids, only those of these users. Long sessions are
-- left out unless p_long is true.
CREATE OR REPLACE FUNCTION muster.rolled_up_groups(p_state muster.rollup_state, p_session_ids uuid[], p_user_ids text[], p_long boolean)
RETURNS muster.event_group[]
LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    SELECT array_agg(ROW(g.*)::muster.event_group) FROM (
        SELECT e.session_id, e.user_id, e.event_type, e.area, k.key_values, muster.day_of(e.occurred_at, p_state.time_zone) AS day,
               count(*) AS events, min(e.occurred_at) AS first_at, max(e.occurred_at) AS last_at,
               NULL::integer[] AS value_ids
          FROM (SELECT DISTINCT id FROM unnest(p_session_ids) AS t(id)) t
          LEFT JOIN muster.analytics_sessions s ON s.project_id = p_state.project_id AND s.id = t.id
          CROSS JOIN LATERAL (
              SELECT e.* FROM muster.analytics_events e
               WHERE e.project_id = p_state.project_id AND e.session_id = t.id
                 -- A session's events lie between these times, so few partitions are read.
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
