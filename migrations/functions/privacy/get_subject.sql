-- Everything stored about a user, in pages of events, oldest first. p_after is the cursor of the previous page: [time, session id,
-- event id]. Returns {"events"}, on the first page also {"sessions", "consents", "rejections", "redemptions"}; or {"refused"}.
CREATE OR REPLACE FUNCTION muster.get_subject(p_key_hash bytea, p_user_id text, p_after jsonb, p_limit integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key record;
    v_project_id uuid;
    v_whole uuid[];
    v_shared uuid[];
    v_events jsonb;
    v_rest jsonb := '{}';
BEGIN
    SELECT * INTO v_key FROM muster.project_of_key(p_key_hash, '{admin}');
    IF v_key.project_id IS NULL THEN
        RETURN jsonb_build_object('refused', muster.refusal_of_key(p_key_hash));
    END IF;
    v_project_id := v_key.project_id;
    SELECT coalesce(array_agg(s.session_id) FILTER (WHERE s.is_whole), '{}'), coalesce(array_agg(s.session_id) FILTER (WHERE NOT s.is_whole), '{}')
      INTO v_whole, v_shared FROM muster.sessions_of_user(v_project_id, p_user_id, NULL) s;
    SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') INTO v_events FROM (
        SELECT e.id, e.session_id AS "sessionId", e.user_id AS "userId", e.event_type AS "eventType", e.area, e.occurred_at AS timestamp,
               e.received_at AS "receivedAt", e.batch_id AS "batchId", e.data
          FROM muster.analytics_events e
         WHERE e.project_id = v_project_id AND (e.session_id = ANY (v_whole) OR e.session_id = ANY (v_shared) AND e.user_id = p_user_id)
           AND (p_after IS NULL OR (e.occurred_at, e.session_id, e.id) > ((p_after ->> 0)::timestamptz, (p_after ->> 1)::uuid, (p_after ->> 2)::uuid))
         ORDER BY e.occurred_at, e.session_id, e.id LIMIT p_limit) t;
    IF p_after IS NULL THEN
        v_rest := jsonb_build_object(
            'sessions', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                    'sessionId', s.id, 'userId', s.user_id, 'startedAt', s.started_at, 'lastSeenAt', s.last_seen_at, 'endedAt', s.ended_at,
                    'eventsCount', s.events_count, 'browser', s.browser, 'context', s.context, 'createdAt', s.created_at) ORDER BY s.started_at, s.id), '[]')
                FROM muster.analytics_sessions s WHERE s.project_id = v_project_id
                 AND (s.id = ANY (v_whole) OR s.id = ANY (v_shared) AND s.user_id = p_user_id)),
            'consents', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                    'userId', c.user_id, 'sessionId', c.session_id, 'status', c.status, 'version', c.version,
                    'dataUsageAccepted', c.data_usage_accepted, 'decidedAt', c.decided_at, 'receivedAt', c.received_at) ORDER BY c.decided_at, c.id), '[]')
                FROM muster.analytics_consent c WHERE c.project_id = v_project_id AND (c.user_id = p_user_id OR c.session_id = ANY (v_whole))),
            'rejections', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                    'id', q.id, 'receivedAt', q.received_at, 'reason', q.reason, 'eventId', q.event_id, 'sessionId', q.session_id,
                    'details', q.details, 'payload', q.payload) ORDER BY q.id), '[]')
                FROM muster.analytics_rejections q WHERE q.project_id = v_project_id
                 AND (q.user_id = p_user_id OR lower(q.session_id) = ANY (v_whole::text[]))),
            'redemptions', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                    'tokenId', r.token_id, 'participantType', r.participant_type, 'userId', r.user_id, 'sessionId', r.session_id,
                    'redeemedAt', r.redeemed_at) ORDER BY r.redeemed_at, r.id), '[]')
                FROM muster.pilot_redemptions r WHERE r.project_id = v_project_id
                 AND (r.user_id = p_user_id OR r.session_id = ANY (v_whole))));
    END IF;
    RETURN v_rest || jsonb_build_object('events', v_events);
END
$$;

GRANT EXECUTE ON FUNCTION muster.get_subject TO muster_people;
