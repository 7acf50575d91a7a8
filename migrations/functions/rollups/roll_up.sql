-- Rolls up about p_most of the events that were committed since the last roll-up. Ingest and readers do not wait for it. Returns how
-- many events it rolled up and whether all are rolled up now; no row if another roll-up is running or the project does not exist.
CREATE OR REPLACE FUNCTION muster.roll_up(p_project_id uuid, p_most integer) RETURNS TABLE (rolled_up bigint, is_complete boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_state muster.rollup_state;
    v_horizon bigint;
    v_to bigint;
    v_before timestamptz;
    v_count bigint;
    v_rolled_up bigint := 0;
    v_at_once CONSTANT integer := 50000; -- the events that one statement holds in memory
    v_step integer := least(p_most, v_at_once);
BEGIN
    IF NOT EXISTS (SELECT FROM muster.rollup_state WHERE project_id = p_project_id) THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('muster.roll_up ' || p_project_id, 0));
        IF NOT EXISTS (SELECT FROM muster.rollup_state WHERE project_id = p_project_id) THEN
            PERFORM muster.reset_rollups(p_project_id);
        END IF;
    END IF;
    SELECT s.* INTO v_state FROM muster.rollup_state s WHERE s.project_id = p_project_id FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- With another time zone, other keys or another server's transaction ids, the roll-ups cannot be continued.
    IF NOT EXISTS (SELECT FROM muster.projects p, pg_control_system() c WHERE p.id = p_project_id AND p.time_zone = v_state.time_zone
                      AND p.rollup_keys = v_state.keys AND c.system_identifier = v_state.system_identifier) THEN
        PERFORM muster.reset_rollups(p_project_id);
        SELECT s.* INTO v_state FROM muster.rollup_state s WHERE s.project_id = p_project_id;
    END IF;
    IF v_state.watermark IS NULL THEN
        -- Rebuild in steps of the events' timestamps, because one transaction may have stored millions of events.
        WHILE v_state.rebuilt_before <= v_state.rebuilt_until AND v_rolled_up < p_most LOOP
            v_before := v_state.rebuilt_until + interval '1 microsecond';
            LOOP
                SELECT count(*) INTO v_count FROM (
                    SELECT FROM muster.analytics_events e WHERE e.project_id = p_project_id
                       AND e.occurred_at >= v_state.rebuilt_before AND e.occurred_at < v_before LIMIT v_step + 1) e;
                EXIT WHEN v_count <= v_step OR v_before <= v_state.rebuilt_before + interval '1 second';
                v_before := v_state.rebuilt_before + (v_before - v_state.rebuilt_before) / 2;
            END LOOP;
            -- Events restored from another server may have transaction ids that this server reaches in years. They get the id of
            -- this transaction, so the next roll-up includes them.
            UPDATE muster.analytics_events e SET xid = pg_current_xact_id()::text::bigint
             WHERE e.project_id = p_project_id AND e.occurred_at >= v_state.rebuilt_before AND e.occurred_at < v_before
               AND e.xid > pg_current_xact_id()::text::bigint;
            v_rolled_up := v_rolled_up + muster.roll_up_events(v_state, v_state.rebuild_to, v_before);
            v_state.rebuilt_before := v_before;
        END LOOP;
        IF v_state.rebuilt_before <= v_state.rebuilt_until THEN
            UPDATE muster.rollup_state SET rebuilt_before = v_before, rolled_up_at = now() WHERE project_id = p_project_id;
            RETURN QUERY SELECT v_rolled_up, false;
            RETURN;
        END IF;
        v_state.watermark := v_state.rebuild_to;
        v_state.rebuild_to := NULL;
        v_state.rebuilt_before := NULL;
        v_state.rebuilt_until := NULL;
    END IF;
    v_horizon := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    WHILE v_state.watermark < v_horizon AND v_rolled_up < p_most LOOP
        v_to := v_horizon;
        LOOP
            EXECUTE format('SELECT count(*) FROM (SELECT FROM muster.analytics_events WHERE project_id = %L AND xid >= %s AND xid < %s
                            LIMIT %s) e', p_project_id, v_state.watermark, v_to, v_at_once + 1) INTO v_count;
            EXIT WHEN v_count <= v_step OR v_to <= v_state.watermark + 1;
            v_to := v_state.watermark + (v_to - v_state.watermark) / 2;
        END LOOP;
        IF v_count > v_at_once THEN
            -- One transaction stored more events than a step holds. Only a rebuild, which steps by time, can split it.
            PERFORM muster.reset_rollups(p_project_id);
            RETURN QUERY SELECT v_rolled_up, false;
            RETURN;
        END IF;
        v_rolled_up := v_rolled_up + muster.roll_up_events(v_state, v_to, 'infinity');
        v_state.watermark := v_to;
    END LOOP;
    UPDATE muster.rollup_state
       SET watermark = v_state.watermark, rebuild_to = NULL, rebuilt_before = NULL, rebuilt_until = NULL, rolled_up_at = now()
     WHERE project_id = p_project_id;
    RETURN QUERY SELECT v_rolled_up, v_state.watermark >= v_horizon;
END
$$;

GRANT EXECUTE ON FUNCTION muster.roll_up TO muster_reader, muster_admin;
