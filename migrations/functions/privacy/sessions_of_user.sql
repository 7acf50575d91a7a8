-- The sessions that hold a user's events, at most p_most. is_whole: the session has no other user, so its anonymous events belong to
-- this user too.
CREATE OR REPLACE FUNCTION muster.sessions_of_user(p_project_id uuid, p_user_id text, p_most integer)
RETURNS TABLE (session_id uuid, is_whole boolean)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    -- The watermark is a literal: the planner must see how few events are not rolled up.
    RETURN QUERY EXECUTE format($q$
        SELECT m.id, NOT EXISTS (SELECT FROM muster.analytics_events e
                                  WHERE e.project_id = $1 AND e.session_id = m.id AND e.user_id <> $2)
                     AND NOT EXISTS (SELECT FROM muster.analytics_sessions s WHERE s.project_id = $1 AND s.id = m.id AND s.user_id <> $2)
          FROM (SELECT s.id FROM muster.analytics_sessions s WHERE s.project_id = $1 AND s.user_id = $2
                UNION SELECT u.session_id FROM muster.rollup_user_sessions u WHERE u.project_id = $1 AND u.user_id = $2
                UNION SELECT e.session_id FROM muster.analytics_events e WHERE e.project_id = $1 AND e.xid >= %s AND e.user_id = $2
                ORDER BY 1 LIMIT $3) m $q$, coalesce(muster.rollup_watermark(p_project_id), 0))
        USING p_project_id, p_user_id, p_most;
END
$$;
