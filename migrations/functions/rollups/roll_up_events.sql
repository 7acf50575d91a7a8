-- Rolls up the events from the state's watermark to p_to_xid (exclusive) and, in a rebuild, from rebuilt_before to p_to (exclusive).
-- Returns how many. The caller has locked the project's state.
CREATE OR REPLACE FUNCTION muster.roll_up_events(p_state muster.rollup_state, p_to_xid bigint, p_to timestamptz) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_groups muster.event_group[];
    v_added muster.event_group[];
    v_events bigint;
    v_first timestamptz;
    v_last timestamptz;
BEGIN
    -- The statement has literals, so the planner sees how few transactions these are.
    EXECUTE format($q$
        SELECT array_agg(ROW(g.*)::muster.event_group), sum(g.events), min(g.first_at), max(g.last_at) FROM (
            SELECT e.session_id, e.user_id, e.event_type, e.area, %s AS key_values, muster.day_of(e.occurred_at, %L) AS day,
                   count(*) AS events, min(e.occurred_at) AS first_at, max(e.occurred_at) AS last_at, NULL::integer[] AS value_ids
              FROM muster.analytics_events e
             WHERE e.project_id = %L AND e.xid >= %s AND e.xid < %s AND e.occurred_at >= %L AND e.occurred_at < %L
             GROUP BY 1, 2, 3, 4, 5, 6) g $q$,
        CASE WHEN p_state.keys = '{}' THEN '''{}''::text[]'
             ELSE format('ARRAY(SELECT e.data ->> k FROM unnest(%L::text[]) k)', p_state.keys) END,
        p_state.time_zone, p_state.project_id, coalesce(p_state.watermark, 0), p_to_xid,
        coalesce(p_state.rebuilt_before, '-infinity'), p_to)
        INTO v_groups, v_events, v_first, v_last;
    IF v_events > 0 THEN
        v_added := muster.with_dimension_values(p_state, v_groups);
        v_groups := muster.rolled_up_groups(p_state, ARRAY(SELECT DISTINCT session_id FROM unnest(v_groups)), NULL, false);
        PERFORM muster.update_session_rollups(p_state, muster.with_dimension_values(p_state, v_groups), '{}', v_added);
        PERFORM muster.add_user_activity(p_state, v_added);
        UPDATE muster.rollup_state SET first_at = least(first_at, v_first), last_at = greatest(last_at, v_last)
         WHERE project_id = p_state.project_id;
    END IF;
    RETURN coalesce(v_events, 0);
END
$$;
