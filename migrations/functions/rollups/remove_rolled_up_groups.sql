-- Removes deleted or changed events from the roll-ups. The remaining events of their sessions and users are read again.
CREATE OR REPLACE FUNCTION muster.remove_rolled_up_groups(p_state muster.rollup_state, p_removed muster.event_group[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_sessions uuid[] := ARRAY(SELECT DISTINCT session_id FROM unnest(p_removed));
    v_users text[] := ARRAY(SELECT DISTINCT user_id FROM unnest(p_removed) WHERE user_id IS NOT NULL);
    v_first timestamptz := (SELECT min(first_at) FROM unnest(p_removed));
    v_last timestamptz := (SELECT max(last_at) FROM unnest(p_removed));
    v_remaining muster.event_group[];
BEGIN
    IF p_removed IS NULL THEN
        RETURN;
    END IF;
    DELETE FROM muster.rollup_session_days WHERE project_id = p_state.project_id AND session_id = ANY (v_sessions);
    DELETE FROM muster.rollup_long_sessions WHERE project_id = p_state.project_id AND session_id = ANY (v_sessions);
    PERFORM muster.update_session_rollups(p_state, muster.with_dimension_values(p_state, muster.rolled_up_groups(p_state, v_sessions, NULL, true)),
                                          muster.with_dimension_values(p_state, p_removed), '{}');
    v_sessions := ARRAY(SELECT session_id FROM muster.rollup_user_sessions
                         WHERE project_id = p_state.project_id AND user_id = ANY (v_users));
    PERFORM muster.remove_user_activity(p_state, v_users);
    v_remaining := muster.rolled_up_groups(p_state, v_sessions, v_users, true);
    PERFORM muster.add_user_activity(p_state, muster.with_dimension_values(p_state, v_remaining));
    INSERT INTO muster.rollup_user_sessions (project_id, user_id, session_id, first_day, last_day)
    SELECT p_state.project_id, user_id, session_id, min(day), max(day) FROM unnest(v_remaining) GROUP BY user_id, session_id;
    IF v_first <= p_state.first_at OR v_last >= p_state.last_at THEN
        UPDATE muster.rollup_state SET (first_at, last_at) = (
            SELECT min(e.occurred_at), max(e.occurred_at) FROM muster.analytics_events e
             WHERE e.project_id = p_state.project_id AND e.xid < coalesce(p_state.watermark, p_state.rebuild_to)
               AND e.occurred_at < coalesce(p_state.rebuilt_before, 'infinity'))
         WHERE project_id = p_state.project_id;
    END IF;
END
$$;
