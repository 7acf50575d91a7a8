-- Events of transactions before this id are rolled up. Null if the project is not rolled up, or was on another server, whose
-- transaction ids mean nothing here.
CREATE OR REPLACE FUNCTION muster.rollup_watermark(p_project_id uuid) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT s.watermark FROM muster.rollup_state s, pg_control_system() c
     WHERE s.project_id = p_project_id AND s.system_identifier = c.system_identifier
$$;

GRANT EXECUTE ON FUNCTION muster.rollup_watermark TO muster_reader, muster_admin;
