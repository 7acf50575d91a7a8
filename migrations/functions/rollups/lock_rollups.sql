-- Locks a project's roll-ups against all other roll-ups, including the first one, and returns their state.
CREATE OR REPLACE FUNCTION muster.lock_rollups(p_project_id uuid) RETURNS muster.rollup_state
LANGUAGE plpgsql AS $$
DECLARE
    v_state muster.rollup_state;
BEGIN
    IF NOT EXISTS (SELECT FROM muster.rollup_state WHERE project_id = p_project_id) THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('muster.roll_up ' || p_project_id, 0));
    END IF;
    SELECT s.* INTO v_state FROM muster.rollup_state s WHERE s.project_id = p_project_id FOR UPDATE;
    -- Without roll-ups, or with those of another server, whose transaction ids mean nothing here, the next roll-up starts over.
    IF v_state.system_identifier IS DISTINCT FROM (SELECT c.system_identifier FROM pg_control_system() c) THEN
        PERFORM muster.reset_rollups(p_project_id);
        SELECT s.* INTO v_state FROM muster.rollup_state s WHERE s.project_id = p_project_id;
    END IF;
    RETURN v_state;
END
$$;
