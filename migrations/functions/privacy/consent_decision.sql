-- The same decision with its version and time: {"status", "version", "decided_at"}; the status is "unknown" if there is none.
CREATE OR REPLACE FUNCTION muster.consent_decision(p_project_id uuid, p_user_id text, p_session_id uuid) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT jsonb_build_object('status', d.status, 'version', d.version, 'decided_at', d.decided_at) FROM (
            (SELECT c.* FROM muster.analytics_consent c
              WHERE c.project_id = p_project_id AND c.user_id = p_user_id ORDER BY c.decided_at DESC, c.id DESC LIMIT 1)
            UNION ALL
            (SELECT c.* FROM muster.analytics_consent c
              WHERE c.project_id = p_project_id AND c.session_id = p_session_id ORDER BY c.decided_at DESC, c.id DESC LIMIT 1)) d
         ORDER BY d.decided_at DESC, d.id DESC LIMIT 1),
        '{"status": "unknown", "version": null, "decided_at": null}')
$$;
