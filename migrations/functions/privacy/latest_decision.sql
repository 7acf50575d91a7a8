-- The decision in force for a user or a session: the latest one of either. No row if there is none. The planner inlines this function.
CREATE OR REPLACE FUNCTION muster.latest_decision(p_project_id uuid, p_user_id text, p_session_id uuid)
RETURNS TABLE (status text, version text, decided_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT d.status, d.version, d.decided_at FROM (
        (SELECT c.id, c.status, c.version, c.decided_at FROM muster.analytics_consent c
          WHERE c.project_id = p_project_id AND c.user_id = p_user_id ORDER BY c.decided_at DESC, c.id DESC LIMIT 1)
        UNION ALL
        (SELECT c.id, c.status, c.version, c.decided_at FROM muster.analytics_consent c
          WHERE c.project_id = p_project_id AND c.session_id = p_session_id ORDER BY c.decided_at DESC, c.id DESC LIMIT 1)
    ) d ORDER BY d.decided_at DESC, d.id DESC LIMIT 1
$$;
