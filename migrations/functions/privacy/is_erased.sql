-- Whether an event was erased, or belongs to an erased user and happened before the erasure.
CREATE OR REPLACE FUNCTION muster.is_erased(p_project_id uuid, p_session_id uuid, p_id uuid, p_user_id text, p_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM muster.erased_events e
                    WHERE e.project_id = p_project_id AND e.event_hash = muster.hash_subject(p_project_id, p_id::text)
                      AND e.session_hash = muster.hash_subject(p_project_id, p_session_id::text) AND e.was_stored)
        OR p_user_id IS NOT NULL AND EXISTS (SELECT FROM muster.erasures r
                    WHERE r.project_id = p_project_id AND r.user_hash = muster.hash_subject(p_project_id, p_user_id) AND r.requested_at >= p_at)
        OR p_user_id IS NULL AND EXISTS (SELECT FROM muster.erased_sessions s
                    WHERE s.project_id = p_project_id AND s.session_hash = muster.hash_subject(p_project_id, p_session_id::text)
                      AND s.is_whole AND s.erased_at >= p_at)
$$;
