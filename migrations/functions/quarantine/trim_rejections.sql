-- Deletes rejections that are older than p_days, and the oldest ones of a project beyond p_most rows or p_bytes of payloads.
-- Deletes at most p_step; returns the number deleted.
CREATE OR REPLACE FUNCTION muster.trim_rejections(p_days integer, p_most integer, p_bytes bigint, p_step integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_trimmed integer;
BEGIN
    DELETE FROM muster.analytics_rejections WHERE id IN (
        SELECT id FROM (
            SELECT id, last_received_at, row_number() OVER newest AS number,
                   sum(octet_length(payload)) OVER newest AS bytes
              FROM muster.analytics_rejections WINDOW newest AS (PARTITION BY project_id ORDER BY received_at DESC, id DESC)) r
         WHERE last_received_at < now() - make_interval(days => p_days) OR number > p_most OR bytes > p_bytes
         ORDER BY id LIMIT p_step);
    GET DIAGNOSTICS v_trimmed = ROW_COUNT;
    RETURN v_trimmed;
END
$$;

GRANT EXECUTE ON FUNCTION muster.trim_rejections TO muster_admin;
