-- Empties a project's roll-ups. The next roll-up rebuilds them; until it is complete, metrics are read from the events.
CREATE OR REPLACE FUNCTION muster.reset_rollups(p_project_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_value_ids integer[] := ARRAY(SELECT s.id FROM muster.rollup_dimension_values s JOIN muster.rollup_dimensions d ON d.id = s.dimension_id
                                 WHERE d.project_id = p_project_id);
BEGIN
    -- All transactions before rebuild_to have ended, so the span of their events is final.
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
           first_at = NULL, last_at = NULL, rolled_up_at = now();
    DELETE FROM muster.rollup_days WHERE value_id = ANY (v_value_ids);
    DELETE FROM muster.rollup_returning_activity WHERE value_id = ANY (v_value_ids);
    DELETE FROM muster.rollup_session_spans WHERE value_id = ANY (v_value_ids);
    DELETE FROM muster.rollup_long_sessions WHERE project_id = p_project_id;
    DELETE FROM muster.rollup_session_days WHERE project_id = p_project_id;
    DELETE FROM muster.rollup_user_days WHERE project_id = p_project_id;
    DELETE FROM muster.rollup_user_sessions WHERE project_id = p_project_id;
    DELETE FROM muster.rollup_dimensions WHERE project_id = p_project_id;
END
$$;

GRANT EXECUTE ON FUNCTION muster.reset_rollups TO muster_admin;
