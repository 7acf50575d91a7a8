-- Drops a partition that no project keeps, with its roll-ups and the sessions that end in it. Returns how many rows of each project
-- were deleted.
--
-- Until the end, it blocks only writers into that month. To drop the partition, it needs a short lock on the whole table. Ingest
-- waits behind that lock, so each attempt waits for it only 20 ms. If all attempts fail (lock_not_available), nothing has changed.
CREATE OR REPLACE FUNCTION muster.expire_partition(p_partition text) RETURNS TABLE (project_id uuid, events bigint, sessions bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_found record;
    v_ids uuid[];
    v_counts bigint[];
    v_projects uuid[] := '{}'; -- for each session that continues: its project,
    v_continuing uuid[] := '{}'; -- the session,
    v_losses bigint[] := '{}'; -- and how many events it loses
    v_tries integer := 0;
BEGIN
    SELECT x.* INTO v_found FROM muster.expired_partitions() x WHERE x.name = p_partition;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- Erasures lock in the same order: first the roll-ups, then the partition.
    FOREACH project_id IN ARRAY v_found.project_ids LOOP
        PERFORM muster.lock_rollups(project_id);
    END LOOP;
    EXECUTE format('LOCK TABLE muster.%I IN SHARE ROW EXCLUSIVE MODE', p_partition);
    -- From here on, no events are added to the partition. Check again.
    SELECT x.* INTO v_found FROM muster.expired_partitions() x WHERE x.name = p_partition;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    FOREACH project_id IN ARRAY v_found.project_ids LOOP
        SELECT f.events, f.sessions, f.session_ids, f.counts INTO events, sessions, v_ids, v_counts
          FROM muster.delete_days(project_id, NULL, format('muster.%I', p_partition)::regclass, v_found.from_at, v_found.to_at) f;
        IF events = 0 THEN
            RAISE object_in_use USING MESSAGE = 'The data retention of a project was extended and now covers this partition.';
        END IF;
        v_projects := v_projects || array_fill(project_id, ARRAY[coalesce(cardinality(v_ids), 0)]);
        v_continuing := v_continuing || v_ids;
        v_losses := v_losses || v_counts;
        RETURN NEXT;
    END LOOP;
    PERFORM set_config('lock_timeout', '20ms', true);
    LOOP
        BEGIN
            LOCK TABLE ONLY muster.analytics_events IN ACCESS EXCLUSIVE MODE;
            PERFORM muster.reduce_event_counts(t.id, array_agg(t.session_id), array_agg(t.number))
               FROM unnest(v_projects, v_continuing, v_losses) t(id, session_id, number) GROUP BY t.id ORDER BY t.id;
            EXECUTE format('DROP TABLE muster.%I', p_partition);
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            v_tries := v_tries + 1;
            IF v_tries = 50 THEN
                RAISE;
            END IF;
        END;
        PERFORM pg_sleep(0.1);
    END LOOP;
END
$$;

GRANT EXECUTE ON FUNCTION muster.expire_partition TO muster_admin;
