-- Sessions by key: what PUT and GET /v1/sessions/{sessionId} call.

CREATE FUNCTION muster.session_json(p_session muster.analytics_sessions, p_created boolean) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'session_id', p_session.id, 'user_id', p_session.user_id, 'started_at', p_session.started_at,
        'last_seen_at', p_session.last_seen_at, 'ended_at', p_session.ended_at,
        'duration_seconds', greatest(0, extract(epoch FROM coalesce(p_session.ended_at, p_session.last_seen_at) - p_session.started_at)),
        'events_count', p_session.events_count,
        'is_active', p_session.ended_at IS NULL AND p_session.last_seen_at > now() - interval '30 minutes',
        'created', p_created)
$$;

-- Creates or updates a session; {"refused": "session_belongs_to_another_user"} when it is known to be another's.
-- p_change: {"userId", "startedAt", "endedAt", "context", "browser", "sequence", "dropped"}, each optional.
CREATE FUNCTION muster.store_session(p_project_id uuid, p_session_id uuid, p_change jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    v_user text := p_change ->> 'userId';
    v_started timestamptz := (p_change ->> 'startedAt')::timestamptz;
    v_ended timestamptz := (p_change ->> 'endedAt')::timestamptz;
    v_batches int4multirange := CASE WHEN p_change ->> 'sequence' IS NULL THEN '{}'
        ELSE int4multirange(int4range((p_change ->> 'sequence')::integer, (p_change ->> 'sequence')::integer, '[]')) END;
    v_stored record;
BEGIN
    INSERT INTO muster.analytics_sessions AS s (project_id, id, user_id, started_at, last_seen_at, ended_at, batches, dropped, browser, context)
    VALUES (p_project_id, p_session_id, v_user, coalesce(v_started, v_ended, now()), coalesce(v_ended, v_started, now()), v_ended,
            v_batches, coalesce((p_change ->> 'dropped')::bigint, 0), p_change ->> 'browser', coalesce(p_change -> 'context', '{}'))
    ON CONFLICT (project_id, id) DO UPDATE SET
           user_id = coalesce(s.user_id, v_user),
           started_at = least(s.started_at, v_started),
           last_seen_at = greatest(s.last_seen_at, v_ended),
           ended_at = coalesce(v_ended, s.ended_at),
           batches = s.batches + v_batches,
           dropped = greatest(s.dropped, excluded.dropped),
           browser = coalesce(excluded.browser, s.browser),
           context = s.context || excluded.context,
           updated_at = now()
     WHERE s.user_id IS NULL OR v_user IS NULL OR s.user_id = v_user
    RETURNING s AS session, s.xmax = 0 AS created INTO v_stored;
    IF NOT FOUND THEN
        RETURN '{"refused": "session_belongs_to_another_user"}';
    END IF;
    RETURN muster.session_json(v_stored.session, v_stored.created);
END
$$;

CREATE FUNCTION muster.put_session(p_key_hash bytea, p_session_id uuid, p_change jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key record;
BEGIN
    SELECT * INTO v_key FROM muster.authenticate(p_key_hash);
    IF NOT FOUND THEN
        RETURN '{"refused": "invalid_key"}';
    ELSIF v_key.kind NOT IN ('write', 'admin') THEN
        RETURN '{"refused": "key_not_allowed"}';
    END IF;
    RETURN muster.store_session(v_key.project_id, p_session_id, p_change);
END
$$;

CREATE FUNCTION muster.get_session(p_key_hash bytea, p_session_id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key record;
    v_session muster.analytics_sessions;
BEGIN
    SELECT * INTO v_key FROM muster.authenticate(p_key_hash);
    IF NOT FOUND THEN
        RETURN '{"refused": "invalid_key"}';
    ELSIF v_key.kind NOT IN ('read', 'admin') THEN
        RETURN '{"refused": "key_not_allowed"}';
    END IF;
    SELECT * INTO v_session FROM muster.analytics_sessions WHERE project_id = v_key.project_id AND id = p_session_id;
    IF NOT FOUND THEN
        RETURN '{"refused": "not_found"}';
    END IF;
    RETURN muster.session_json(v_session, false);
END
$$;

GRANT EXECUTE ON FUNCTION muster.put_session, muster.get_session TO muster_ingest;
