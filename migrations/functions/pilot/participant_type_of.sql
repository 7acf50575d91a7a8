-- The participant type of a session, from the latest redemption by the session or its user; null if there is none.
-- participant_sessions has the same rule for all sessions at once.
CREATE OR REPLACE FUNCTION muster.participant_type_of(p_project_id uuid, p_session_id uuid) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT r.participant_type FROM (
        (SELECT r.participant_type, r.redeemed_at, r.id FROM muster.pilot_redemptions r
          WHERE r.project_id = p_project_id AND r.session_id = p_session_id ORDER BY r.redeemed_at DESC, r.id DESC LIMIT 1)
        UNION ALL
        (SELECT r.participant_type, r.redeemed_at, r.id
           FROM muster.analytics_sessions s JOIN muster.pilot_redemptions r ON r.project_id = s.project_id AND r.user_id = s.user_id
          WHERE s.project_id = p_project_id AND s.id = p_session_id ORDER BY r.redeemed_at DESC, r.id DESC LIMIT 1)
    ) r ORDER BY r.redeemed_at DESC, r.id DESC LIMIT 1
$$;

GRANT EXECUTE ON FUNCTION muster.participant_type_of TO muster_reader, muster_admin;
