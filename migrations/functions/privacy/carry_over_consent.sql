-- Copies the decisions of anonymous sessions to their users. A session belongs to its known user, otherwise to the first user that
-- is sent with it.
CREATE OR REPLACE FUNCTION muster.carry_over_consent(p_project_id uuid, p_session_ids uuid[], p_user_ids text[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO muster.analytics_consent (project_id, user_id, status, version, data_usage_accepted, decided_at, received_at,
           carried_over_from)
    SELECT p_project_id, t.user_id, c.status, c.version, c.data_usage_accepted, c.decided_at, c.received_at, c.id
      FROM (SELECT DISTINCT ON (n.session_id) n.session_id, coalesce(s.user_id, n.user_id) AS user_id
              FROM unnest(p_session_ids, p_user_ids) WITH ORDINALITY AS n(session_id, user_id, position)
              LEFT JOIN muster.analytics_sessions s ON s.project_id = p_project_id AND s.id = n.session_id
             WHERE coalesce(s.user_id, n.user_id) IS NOT NULL ORDER BY n.session_id, n.position) t
      JOIN muster.analytics_consent c ON c.project_id = p_project_id AND c.session_id = t.session_id AND c.user_id IS NULL
     ORDER BY c.id
    ON CONFLICT DO NOTHING
$$;
