-- What the archive has copied out of the database, and the way to what it has not.

-- As a number, since BRIN has no operators for xid8; a cluster makes 2^63 transactions in no one's time.
ALTER TABLE muster.analytics_events ALTER COLUMN xid DROP DEFAULT;
ALTER TABLE muster.analytics_events ALTER COLUMN xid TYPE bigint USING xid::text::bigint;
ALTER TABLE muster.analytics_events ALTER COLUMN xid SET DEFAULT pg_current_xact_id()::text::bigint;
-- Rows of one transaction lie together: a few entries tell where those of late are.
CREATE INDEX analytics_events_xid ON muster.analytics_events USING brin (xid) WITH (pages_per_range = 16, autosummarize = on);

CREATE TABLE muster.archive_state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    watermark bigint NOT NULL DEFAULT 0, -- every event of an earlier transaction is archived
    planned bigint, -- the watermark to be, while objects are written
    system_identifier bigint NOT NULL, -- of the server whose transaction the watermark is
    events bigint NOT NULL DEFAULT 0,
    archived_at timestamptz
);

-- The transactions to archive next, and the events in them: at most p_most, but for one transaction that has more. The same
-- answer until the watermark has moved: who begins anew after a failure, or works beside another, writes the same objects.
-- On another server than before it begins again: an event that is twice in the archive is better than one that is not.
CREATE FUNCTION muster.next_for_archive(p_most integer)
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
    -- Events that were restored from another server have its transactions' numbers: those ahead of ours are given this one's.
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

GRANT EXECUTE ON FUNCTION muster.next_for_archive TO muster_admin;
GRANT SELECT, UPDATE ON muster.archive_state TO muster_admin;
