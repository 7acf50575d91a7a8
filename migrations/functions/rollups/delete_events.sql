-- Deletes the events of sessions and removes them from the roll-ups. With p_user_id, only that user's events. Returns how many.
CREATE OR REPLACE FUNCTION muster.delete_events(p_project_id uuid, p_session_ids uuid[], p_user_id text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_state muster.rollup_state;
    v_deleted bigint;
    v_removed muster.event_group[];
BEGIN
    SELECT * INTO v_state FROM muster.rollup_state WHERE project_id = p_project_id FOR UPDATE;
    WITH deleted AS (
        DELETE FROM muster.analytics_events e
         WHERE e.project_id = p_project_id AND e.session_id = ANY (p_session_ids) AND (p_user_id IS NULL OR e.user_id = p_user_id)
        RETURNING e.*
    ), grouped AS (
        SELECT e.session_id, e.user_id, e.event_type, e.area,
               ARRAY(SELECT e.data ->> k FROM unnest(v_state.keys) k) AS key_values, muster.day_of(e.occurred_at, v_state.time_zone) AS day,
               count(*) AS events, min(e.occurred_at) AS first_at, max(e.occurred_at) AS last_at,
               NULL::integer[] AS value_ids
          FROM deleted e
         WHERE e.xid < coalesce(v_state.watermark, v_state.rebuild_to)
           AND e.occurred_at < coalesce(v_state.rebuilt_before, 'infinity')
         GROUP BY 1, 2, 3, 4, 5, 6
    )
    SELECT (SELECT count(*) FROM deleted), (SELECT array_agg(ROW(g.*)::muster.event_group) FROM grouped g) INTO v_deleted, v_removed;
    PERFORM muster.remove_rolled_up_groups(v_state, v_removed);
    UPDATE muster.analytics_sessions s
       SET events_count = (SELECT count(*) FROM muster.analytics_events e WHERE e.project_id = s.project_id AND e.session_id = s.id)
     WHERE s.project_id = p_project_id AND s.id = ANY (p_session_ids);
    RETURN v_deleted;
END
$$;

GRANT EXECUTE ON FUNCTION muster.delete_events TO muster_admin;
