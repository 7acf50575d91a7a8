-- Deletes a project's days before p_before in one transaction: the events, the sessions that end in them, and their roll-ups.
--
-- With p_partition, the month from p_from to p_to, its events stay, because the caller drops the partition; p_before is then null,
-- and the first day after the month is used.
--
-- The caller reduces the event counters of the sessions that continue (session_ids, counts). It does so last, because ingest may be
-- writing to them and must not wait for the deletion.
CREATE OR REPLACE FUNCTION muster.delete_days(p_project_id uuid, p_before date, p_partition regclass, p_from timestamptz, p_to timestamptz,
                                              OUT events bigint, OUT sessions bigint, OUT session_ids uuid[], OUT counts bigint[])
LANGUAGE plpgsql SET work_mem = '64MB' AS $$
DECLARE
    v_state CONSTANT muster.rollup_state := muster.lock_rollups(p_project_id);
    v_before date := (SELECT least(k.first_day, p_before, muster.day_of(p_to - interval '1 microsecond', k.time_zone) + 1)
                        FROM muster.retention_limits() k WHERE k.project_id = p_project_id);
    v_keep_from CONSTANT timestamptz := muster.day_start(v_before, v_state.time_zone);
BEGIN
    events := 0;
    sessions := 0;
    IF v_before IS NULL OR v_keep_from < p_to THEN
        RETURN; -- the project's data retention has been extended
    END IF;
    -- The statement has literals, so that no other partition is read.
    EXECUTE format($q$
        WITH deleted AS (
            DELETE FROM muster.analytics_events WHERE project_id = %1$L AND occurred_at < %2$L %3$s RETURNING session_id
        ), removed AS (SELECT session_id FROM deleted %4$s)
        SELECT array_agg(session_id), array_agg(number), coalesce(sum(number), 0)
          FROM (SELECT session_id, count(*) AS number FROM removed GROUP BY session_id ORDER BY session_id) g $q$,
        p_project_id, v_keep_from,
        CASE WHEN p_partition IS NOT NULL THEN format('AND (occurred_at < %L OR occurred_at >= %L)', p_from, p_to) END,
        CASE WHEN p_partition IS NOT NULL THEN
             format('UNION ALL SELECT session_id FROM %s WHERE project_id = %L', p_partition, p_project_id) END)
        INTO session_ids, counts, events;
    PERFORM muster.remove_rolled_up_days(v_state, v_before);
    -- Lock the sessions in the order in which ingest locks them, then check again.
    PERFORM FROM muster.analytics_sessions
      WHERE project_id = p_project_id AND id = ANY (session_ids) AND last_seen_at < v_keep_from ORDER BY id FOR UPDATE;
    DELETE FROM muster.analytics_sessions s USING unnest(session_ids) t(id)
     WHERE s.project_id = p_project_id AND s.id = t.id AND s.last_seen_at < v_keep_from;
    GET DIAGNOSTICS sessions = ROW_COUNT;
    SELECT array_agg(t.id), array_agg(t.number) INTO session_ids, counts
      FROM unnest(session_ids, counts) t(id, number)
      JOIN muster.analytics_sessions s ON s.project_id = p_project_id AND s.id = t.id;
END
$$;
