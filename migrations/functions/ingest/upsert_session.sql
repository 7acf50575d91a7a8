-- Creates or updates a session; no other statement does. Returns whether it was created; null if a trigger that is not Muster's
-- skipped the row.
--
-- The user of a session is never replaced. A batch with another user is counted in user_conflicts; put_session refuses it.
-- p_first_at and p_last_at are the times of the batch's first and last event, or the start and the end of the session as sent by the
-- client; null keeps the stored time. With p_identifies_backwards, the earlier events of an anonymous session that gets a user become
-- events of this user.
CREATE OR REPLACE FUNCTION muster.upsert_session(
    p_project_id uuid, p_identifies_backwards boolean, p_session_id uuid, p_user_id text, p_first_at timestamptz, p_last_at timestamptz,
    p_ended_at timestamptz, p_events bigint, p_sequence integer, p_dropped bigint, p_clock_skew_ms bigint, p_browser text,
    p_context jsonb) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    v_was_anonymous boolean;
    v_has_one_user boolean;
    v_created boolean;
BEGIN
    IF p_identifies_backwards AND p_user_id IS NOT NULL THEN
        v_was_anonymous := EXISTS (SELECT FROM muster.analytics_sessions s
                                    WHERE s.project_id = p_project_id AND s.id = p_session_id AND s.user_id IS NULL);
    END IF;
    INSERT INTO muster.analytics_sessions AS s (project_id, id, user_id, started_at, last_seen_at, ended_at, events_count, batches,
           dropped, clock_skew_ms, browser, context)
    VALUES (p_project_id, p_session_id, p_user_id, coalesce(p_first_at, p_last_at, now()), coalesce(p_last_at, p_first_at, now()),
            p_ended_at, p_events,
            CASE WHEN p_sequence IS NULL THEN '{}' ELSE int4multirange(int4range(p_sequence, p_sequence, '[]')) END,
            coalesce(p_dropped, 0), p_clock_skew_ms, p_browser, p_context)
    ON CONFLICT (project_id, id) DO UPDATE SET
           user_id = coalesce(s.user_id, excluded.user_id),
           started_at = least(s.started_at, p_first_at),
           last_seen_at = greatest(s.last_seen_at, p_last_at),
           ended_at = coalesce(excluded.ended_at, s.ended_at),
           events_count = s.events_count + excluded.events_count,
           batches = s.batches + excluded.batches,
           dropped = greatest(s.dropped, excluded.dropped),
           user_conflicts = s.user_conflicts + CASE WHEN excluded.user_id <> s.user_id THEN 1 ELSE 0 END,
           clock_skew_ms = coalesce(excluded.clock_skew_ms, s.clock_skew_ms),
           browser = coalesce(excluded.browser, s.browser),
           context = s.context || excluded.context,
           updated_at = now()
    RETURNING s.xmax = 0, s.user_conflicts = 0 INTO v_created, v_has_one_user;
    IF v_was_anonymous AND v_has_one_user THEN
        PERFORM muster.claim_session(p_project_id, p_session_id, p_user_id);
    END IF;
    RETURN v_created;
END
$$;
