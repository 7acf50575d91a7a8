-- The latest decision of a user or a session: granted, denied or withdrawn; null if there is none.
CREATE OR REPLACE FUNCTION muster.consent_status(p_project_id uuid, p_user_id text, p_session_id uuid) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT d.status FROM (
        (SELECT c.status, c.decided_at, c.id FROM muster.analytics_consent c
          WHERE c.project_id = p_project_id AND c.user_id = p_user_id ORDER BY c.decided_at DESC, c.id DESC LIMIT 1)
        UNION ALL
        (SELECT c.status, c.decided_at, c.id FROM muster.analytics_consent c
          WHERE c.project_id = p_project_id AND c.session_id = p_session_id ORDER BY c.decided_at DESC, c.id DESC LIMIT 1)
    ) d ORDER BY d.decided_at DESC, d.id DESC LIMIT 1
$$;
