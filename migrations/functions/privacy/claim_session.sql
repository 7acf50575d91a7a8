-- Assigns a session's anonymous events to its user. If a roll-up is running, the session is put into pending_identities instead, so
-- that ingest never waits.
CREATE OR REPLACE FUNCTION muster.claim_session(p_project_id uuid, p_session_id uuid, p_user_id text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM muster.rollup_state WHERE project_id = p_project_id FOR UPDATE SKIP LOCKED;
    IF FOUND OR NOT EXISTS (SELECT FROM muster.rollup_state WHERE project_id = p_project_id) THEN
        PERFORM muster.claim_events(p_project_id, p_session_id, p_user_id);
    ELSE
        INSERT INTO muster.pending_identities VALUES (p_project_id, p_session_id, p_user_id) ON CONFLICT DO NOTHING;
    END IF;
END
$$;
