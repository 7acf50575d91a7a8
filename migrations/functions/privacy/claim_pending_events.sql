-- Assigns the anonymous events of the sessions that waited for a roll-up to their users. Returns the number of sessions; 0 while a
-- roll-up is running.
CREATE OR REPLACE FUNCTION muster.claim_pending_events(p_project_id uuid) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_pending muster.pending_identities;
    v_claimed integer := 0;
BEGIN
    PERFORM FROM muster.rollup_state WHERE project_id = p_project_id FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    FOR v_pending IN DELETE FROM muster.pending_identities WHERE project_id = p_project_id RETURNING * LOOP
        PERFORM muster.claim_events(p_project_id, v_pending.session_id, v_pending.user_id);
        v_claimed := v_claimed + 1;
    END LOOP;
    RETURN v_claimed;
END
$$;

GRANT EXECUTE ON FUNCTION muster.claim_pending_events TO muster_reader, muster_admin;
