-- Creates the missing monthly partitions from p_from to p_to, inclusive. Returns how many.
-- It attaches the new tables, because CREATE TABLE … PARTITION OF would lock ingest out. Events that arrived before their partition
-- existed are moved there from the default partition.
CREATE OR REPLACE FUNCTION muster.ensure_partitions(p_from date, p_to date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_month date := date_trunc('month', p_from);
    v_name text;
    v_start timestamptz;
    v_end timestamptz;
    v_created integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('muster.ensure_partitions', 0));
    WHILE v_month <= p_to LOOP
        v_name := 'analytics_events_' || to_char(v_month, 'YYYY_MM');
        IF to_regclass(format('muster.%I', v_name)) IS NULL THEN
            v_start := v_month::timestamp AT TIME ZONE 'UTC';
            v_end := (v_month + interval '1 month') AT TIME ZONE 'UTC';
            EXECUTE format('CREATE TABLE muster.%I (LIKE muster.analytics_events INCLUDING DEFAULTS)', v_name);
            EXECUTE format('WITH moved AS (DELETE FROM muster.analytics_events_default
                             WHERE occurred_at >= %L AND occurred_at < %L RETURNING *)
                            INSERT INTO muster.%I SELECT * FROM moved', v_start, v_end, v_name);
            EXECUTE format('ALTER TABLE muster.analytics_events ATTACH PARTITION muster.%I FOR VALUES FROM (%L) TO (%L)',
                           v_name, v_start, v_end);
            v_created := v_created + 1;
        END IF;
        v_month := v_month + interval '1 month';
    END LOOP;
    RETURN v_created;
END
$$;

GRANT EXECUTE ON FUNCTION muster.ensure_partitions TO muster_admin;
