-- The transactions to archive next: they have at most p_most events, unless one transaction has more. The result stays the same until
-- the watermark has moved, so a retry or a concurrent run writes the same objects. On another server the archive starts over: a
-- duplicate event in the archive is better than a missing one.
CREATE OR REPLACE FUNCTION muster.next_archive_window(p_most integer)
RETURNS TABLE (from_xid bigint, to_xid bigint, is_last boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_server bigint := (SELECT system_identifier FROM pg_control_system());
    v_current bigint := pg_current_xact_id()::text::bigint;
    v_partition regclass;
    v_count bigint;
    v_adopted bigint := 0;
    v_horizon bigint;
    v_from bigint;
    v_to bigint;
    v_events bigint;
BEGIN
    INSERT INTO muster.archive_state AS s (system_identifier) VALUES (v_server) ON CONFLICT (only_row)
    DO UPDATE SET watermark = CASE WHEN s.system_identifier = v_server THEN s.watermark ELSE 0 END,
                  planned = CASE WHEN s.system_identifier = v_server THEN s.planned END, system_identifier = v_server
    RETURNING watermark, planned INTO v_from, v_to;
    v_horizon := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    IF v_to IS NOT NULL THEN
        RETURN QUERY SELECT v_from, v_to, false;
        RETURN;
    END IF;
    -- Events restored from another server may have transaction ids ahead of this server's. They get the id of this transaction.
    FOR v_partition IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'muster.analytics_events'::regclass LOOP
        EXECUTE format('UPDATE %1$s SET xid = $1 WHERE ctid = ANY (ARRAY(SELECT ctid FROM %1$s WHERE xid > $1 LIMIT $2))',
                       v_partition) USING v_current, p_most - v_adopted;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        v_adopted := v_adopted + v_count;
    END LOOP;
    v_to := v_horizon;
    LOOP
        SELECT count(*) INTO v_events FROM muster.analytics_events WHERE xid >= v_from AND xid < v_to;
        EXIT WHEN v_events <= p_most OR v_to <= v_from + 1;
        v_to := v_from + (v_to - v_from) / 2;
    END LOOP;
    UPDATE muster.archive_state SET planned = v_to;
    RETURN QUERY SELECT v_from, v_to, v_to = v_horizon AND v_adopted = 0;
END
$$;

GRANT EXECUTE ON FUNCTION muster.next_archive_window TO muster_admin;
