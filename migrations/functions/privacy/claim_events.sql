-- Assigns a session's anonymous events to its user: they are removed from the roll-ups and get a new transaction id, so the next
-- roll-up includes them again. The caller has locked the project's rollup_state, if there is one.
CREATE OR REPLACE FUNCTION muster.claim_events(p_project_id uuid, p_session_id uuid, p_user_id text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_state muster.rollup_state;
    v_removed muster.event_group[];
BEGIN
    SELECT * INTO v_state FROM muster.rollup_state WHERE project_id = p_project_id;
    WITH claimed AS MATERIALIZED (
        SELECT e.* FROM muster.analytics_events e
         WHERE e.project_id = p_project_id AND e.session_id = p_session_id AND e.user_id IS NULL
    ), updated AS (
        UPDATE muster.analytics_events e SET user_id = p_user_id, xid = pg_current_xact_id()::text::bigint
          FROM claimed c
         WHERE e.project_id = p_project_id AND e.session_id = p_session_id AND e.id = c.id AND e.occurred_at = c.occurred_at
    ), grouped AS (
        SELECT e.session_id, e.user_id, e.event_type, e.area,
               ARRAY(SELECT e.data ->> k FROM unnest(v_state.keys) k) AS key_values, muster.day_of(e.occurred_at, v_state.time_zone) AS day,
               count(*) AS events, min(e.occurred_at) AS first_at, max(e.occurred_at) AS last_at,
               NULL::integer[] AS value_ids
          FROM claimed e
         WHERE e.xid < coalesce(v_state.watermark, v_state.rebuild_to)
           AND e.occurred_at < coalesce(v_state.rebuilt_before, 'infinity')
         GROUP BY 1, 2, 3, 4, 5, 6
    )
    SELECT array_agg(ROW(g.*)::muster.event_group) INTO v_removed FROM grouped g;
    PERFORM muster.remove_rolled_up_groups(v_state, v_removed);
END
$$;
