-- How many folded events pass filters, ever. Where no rollup knows, that costs what the project holds, which nobody who looks at a
-- short range shall pay for: months are counted from the latest on, for a quarter of a second; is_all says whether those were all.
-- count_folded stays for functions of the version before.
CREATE FUNCTION muster.count_folded_lately(p_project_id uuid, p_watermark bigint, p_user_ids text[], p_event_types text[], p_areas text[],
    p_data jsonb, OUT events bigint, OUT is_all boolean)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_until timestamptz := clock_timestamp() + interval '0.25 seconds';
    v_first timestamp; -- in UTC, as partitions are
    v_month timestamp;
    v_events bigint;
BEGIN
    is_all := true;
    IF p_user_ids IS NOT NULL THEN
        SELECT count(*) INTO events
          FROM muster.folded_events(p_project_id, p_watermark, '-infinity', 'infinity', p_user_ids, p_event_types, p_areas, p_data);
        RETURN;
    END IF;
    events := 0;
    SELECT date_trunc('month', s.first_at AT TIME ZONE 'UTC'), date_trunc('month', s.last_at AT TIME ZONE 'UTC') INTO v_first, v_month
      FROM muster.rollup_state s WHERE s.project_id = p_project_id;
    WHILE v_month >= v_first LOOP
        EXECUTE 'SELECT count(*) FROM muster.analytics_events e WHERE e.project_id = $1 AND e.xid < $2
               AND e.occurred_at >= $6 AND e.occurred_at < $7
               AND ($3 IS NULL OR e.event_type = ANY ($3)) AND ($4 IS NULL OR e.area = ANY ($4))
               AND ($5 = ''[]'' OR (SELECT bool_and(coalesce(e.data ->> f.key = ANY (f.wanted), false))
                      FROM jsonb_to_recordset($5) AS f(key text, wanted text[])))'
            INTO v_events USING p_project_id, p_watermark, p_event_types, p_areas, p_data,
                  v_month AT TIME ZONE 'UTC', (v_month + interval '1 month') AT TIME ZONE 'UTC';
        events := events + v_events;
        v_month := v_month - interval '1 month';
        IF clock_timestamp() > v_until THEN
            is_all := v_month < v_first;
            RETURN;
        END IF;
    END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION muster.count_folded_lately TO muster_reader, muster_admin;
