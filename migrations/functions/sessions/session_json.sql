-- A session as JSON for the API. It is active for 30 minutes after its last event, unless it has ended.
CREATE OR REPLACE FUNCTION muster.session_json(p_session muster.analytics_sessions, p_created boolean) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'session_id', p_session.id, 'user_id', p_session.user_id, 'started_at', p_session.started_at,
        'last_seen_at', p_session.last_seen_at, 'ended_at', p_session.ended_at,
        'duration_seconds', greatest(0, extract(epoch FROM coalesce(p_session.ended_at, p_session.last_seen_at) - p_session.started_at)),
        'events_count', p_session.events_count,
        'is_active', p_session.ended_at IS NULL AND p_session.last_seen_at > now() - interval '30 minutes',
        'created', p_created)
$$;

GRANT EXECUTE ON FUNCTION muster.session_json TO muster_reader, muster_admin;
