-- The number of rolled-up events that match the filter, at any time. Counting all of them may take long, so months are counted from
-- the latest one backwards, at least one, for a quarter of a second. is_all: all months were counted.
CREATE OR REPLACE FUNCTION muster.count_rolled_up_events(p_project_id uuid, p_watermark bigint, p_filter jsonb,
    OUT events bigint, OUT is_all boolean)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_until CONSTANT timestamptz := clock_timestamp() + interval '0.25 seconds';
    v_first timestamp; -- in UTC, like the partitions
    v_month timestamp;
BEGIN
    IF p_filter ? 'userId' AND NOT p_filter ? 'participantType' THEN
        is_all := true;
        SELECT count(*) INTO events FROM muster.rolled_up_events(p_project_id, p_watermark, '-infinity', 'infinity', p_filter);
        RETURN;
    END IF;
    events := 0;
    SELECT date_trunc('month', s.first_at AT TIME ZONE 'UTC'), date_trunc('month', s.last_at AT TIME ZONE 'UTC') INTO v_first, v_month
      FROM muster.rollup_state s WHERE s.project_id = p_project_id;
    WHILE v_month >= v_first LOOP
        events := events + (SELECT count(*) FROM muster.rolled_up_events(
            p_project_id, p_watermark, v_month AT TIME ZONE 'UTC', (v_month + interval '1 month') AT TIME ZONE 'UTC', p_filter));
        v_month := v_month - interval '1 month';
        EXIT WHEN clock_timestamp() > v_until;
    END LOOP;
    is_all := v_month IS NULL OR v_month < v_first;
END
$$;

GRANT EXECUTE ON FUNCTION muster.count_rolled_up_events TO muster_reader, muster_admin;
