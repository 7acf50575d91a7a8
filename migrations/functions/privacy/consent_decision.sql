-- The decision in force for a user or a session: {"status", "version", "decided_at"}. The status is "unknown" if there is none.
CREATE OR REPLACE FUNCTION muster.consent_decision(p_project_id uuid, p_user_id text, p_session_id uuid) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT jsonb_build_object('status', d.status, 'version', d.version, 'decided_at', d.decided_at)
          FROM muster.latest_decision(p_project_id, p_user_id, p_session_id) d),
        '{"status": "unknown", "version": null, "decided_at": null}')
$$;
