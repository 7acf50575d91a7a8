-- Whether a batch must be stored event by event, because of consent, an erasure, redaction, or an anonymous session that gets a
-- user. ingest_fast_path calls this only if the project uses one of these.
CREATE OR REPLACE FUNCTION muster.needs_full_path(p_project_id uuid, p_session_id uuid, p_user_id text, p_data text,
                                                  p_redacted_keys text[]) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        (p.has_decisions OR p.consent_mode = 'opt_in') AND (
            SELECT p.consent_mode = 'opt_in' AND c.status IS DISTINCT FROM 'granted'
                   OR p.consent_mode = 'opt_out' AND c.status IN ('denied', 'withdrawn')
              FROM (SELECT muster.consent_status(p.id, p_user_id, p_session_id) AS status) c)
        -- Even in consent mode off: a session's decision carries over to its user, and applies if consent is switched on again.
        OR p.has_decisions AND p_user_id IS NOT NULL AND EXISTS (
            SELECT FROM muster.analytics_consent c
             WHERE c.project_id = p.id AND c.session_id = p_session_id AND c.user_id IS NULL
               AND NOT EXISTS (SELECT FROM muster.analytics_consent f
                                WHERE f.project_id = p.id AND f.carried_over_from = c.id AND f.user_id = coalesce(
                                      (SELECT s.user_id FROM muster.analytics_sessions s
                                        WHERE s.project_id = p.id AND s.id = p_session_id), p_user_id)))
        OR p.has_erasures AND (
            EXISTS (SELECT FROM muster.erased_sessions s
                     WHERE s.project_id = p.id AND s.session_hash = muster.hash_subject(p.id, p_session_id::text))
            OR EXISTS (SELECT FROM muster.erasures r
                        WHERE r.project_id = p.id AND r.user_hash = muster.hash_subject(p.id, p_user_id)))
        OR NOT p.redacted_keys <@ p_redacted_keys
           AND (muster.contains_key(p_data, p.redacted_keys) OR strpos(p_data, '\u') > 0)
        OR p.identifies_backwards AND p_user_id IS NOT NULL AND EXISTS (
            SELECT FROM muster.analytics_sessions s WHERE s.project_id = p.id AND s.id = p_session_id AND s.user_id IS NULL), false)
      FROM muster.projects p WHERE p.id = p_project_id
$$;
