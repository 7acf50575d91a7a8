-- The sessions with a participant type, from the latest redemption of the session or its user, as participant_type_of. With p_types
-- (["text"…]), only sessions of these types. A redemption also changes the type of earlier events, so the type is not rolled up.
-- A session's events lie between first_at and last_at.
CREATE OR REPLACE FUNCTION muster.participant_sessions(p_project_id uuid, p_types jsonb)
RETURNS TABLE (session_id uuid, participant_type text, first_at timestamptz, last_at timestamptz)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY SELECT p.session_id, p.participant_type, p.first_at, p.last_at
      FROM (SELECT DISTINCT ON (r.session_id) r.session_id, r.participant_type, r.first_at, r.last_at
              FROM (SELECT r.session_id, r.participant_type, r.redeemed_at, r.id, coalesce(s.started_at, '-infinity') AS first_at,
                           coalesce(s.last_seen_at, 'infinity') AS last_at
                      FROM muster.pilot_redemptions r
                      LEFT JOIN muster.analytics_sessions s ON s.project_id = p_project_id AND s.id = r.session_id
                     WHERE r.project_id = p_project_id AND r.session_id IS NOT NULL
                    UNION ALL
                    SELECT s.id, r.participant_type, r.redeemed_at, r.id, s.started_at, s.last_seen_at
                      FROM muster.pilot_redemptions r
                      JOIN muster.analytics_sessions s ON s.project_id = p_project_id AND s.user_id = r.user_id
                     WHERE r.project_id = p_project_id AND r.user_id IS NOT NULL) r
             ORDER BY r.session_id, r.redeemed_at DESC, r.id DESC) p
     WHERE p_types IS NULL OR p_types ? p.participant_type;
END
$$;

GRANT EXECUTE ON FUNCTION muster.participant_sessions TO muster_reader, muster_admin;
