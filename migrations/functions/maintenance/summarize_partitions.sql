-- Summarizes the last page range of the BRIN indexes of past months. Returns how many ranges. Neither autosummarize nor vacuum does
-- this, so every search for new events would read these pages of every month. The current month is left out, because each event
-- would change its summary.
CREATE OR REPLACE FUNCTION muster.summarize_partitions() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_index regclass;
    v_ranges integer := 0;
BEGIN
    FOR v_index IN
        SELECT i.indexrelid FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhrelid JOIN pg_index i ON i.indrelid = p.oid
          JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
         WHERE h.inhparent = 'muster.analytics_events'::regclass AND a.amname = 'brin'
           AND p.relname ~ '^analytics_events_[0-9]{4}_[0-9]{2}$'
           AND to_date(right(p.relname, 7), 'YYYY_MM') + interval '1 month 1 day' < now()
    LOOP
        v_ranges := v_ranges + brin_summarize_new_values(v_index);
    END LOOP;
    RETURN v_ranges;
END
$$;

GRANT EXECUTE ON FUNCTION muster.summarize_partitions TO muster_admin;
