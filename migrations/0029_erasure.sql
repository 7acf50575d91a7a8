-- The right to be forgotten, and to be told. Who was erased is not known any more, but is recognised: by hashes, so that an old batch
-- that comes again, or was still on its way, brings nobody back.

-- Whether anybody was: where nobody was, ingest need not look.
ALTER TABLE muster.projects ADD COLUMN has_erasures boolean NOT NULL DEFAULT false;
CREATE TABLE muster.erasures (
    receipt_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id uuid NOT NULL REFERENCES muster.projects,
    user_hash uuid NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(), -- what happened until then and comes later is erased too
    completed_at timestamptz,
    events bigint NOT NULL DEFAULT 0,
    sessions bigint NOT NULL DEFAULT 0,
    consents bigint NOT NULL DEFAULT 0,
    rejections bigint NOT NULL DEFAULT 0,
    redemptions bigint NOT NULL DEFAULT 0
);
CREATE INDEX erasures_user ON muster.erasures (project_id, user_hash);
CREATE TABLE muster.erased_sessions (
    project_id uuid NOT NULL,
    session_hash uuid NOT NULL,
    erased_at timestamptz NOT NULL,
    is_whole boolean NOT NULL, -- of the erased user alone: then events of nobody in it were the user's too
    PRIMARY KEY (project_id, session_hash)
);
CREATE TABLE muster.erased_events (
    project_id uuid NOT NULL,
    event_hash uuid NOT NULL,
    session_hash uuid NOT NULL,
    was_stored boolean NOT NULL, -- else it was kept out for when it happened and whose it was, and is only to be found here
    PRIMARY KEY (project_id, event_hash, session_hash)
);
GRANT SELECT ON muster.erasures, muster.erased_sessions, muster.erased_events TO muster_reader, muster_admin;

-- With the project's own id in it, so that one user of two projects has two hashes.
CREATE FUNCTION muster.subject_hash(p_project_id uuid, p_text text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT muster.hash_of(p_project_id || ' ' || p_text) $$;

-- Whether an event is of what was erased.
CREATE FUNCTION muster.is_erased(p_project_id uuid, p_session_id uuid, p_id uuid, p_user_id text, p_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM muster.erased_events e
                    WHERE e.project_id = p_project_id AND e.event_hash = muster.subject_hash(p_project_id, p_id::text)
                      AND e.session_hash = muster.subject_hash(p_project_id, p_session_id::text) AND e.was_stored)
        OR p_user_id IS NOT NULL AND EXISTS (SELECT FROM muster.erasures r
                    WHERE r.project_id = p_project_id AND r.user_hash = muster.subject_hash(p_project_id, p_user_id) AND r.requested_at >= p_at)
        OR p_user_id IS NULL AND EXISTS (SELECT FROM muster.erased_sessions s
                    WHERE s.project_id = p_project_id AND s.session_hash = muster.subject_hash(p_project_id, p_session_id::text)
                      AND s.is_whole AND s.erased_at >= p_at)
$$;

-- The sessions that hold what is a user's: is_whole where they hold nothing of another one.
CREATE FUNCTION muster.sessions_of(p_project_id uuid, p_user_id text, p_most integer) RETURNS TABLE (session_id uuid, is_whole boolean)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    -- The watermark as a literal: the planner must see how little is not folded.
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

-- From here on, what comes of the user and happened before is kept out; answers the receipt's id, or {"refused"}.
CREATE FUNCTION muster.begin_erasure(p_key_hash bytea, p_user_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key CONSTANT jsonb := muster.project_of_key(p_key_hash, '{admin}');
    v_project CONSTANT uuid := v_key ->> 'project_id';
    v_receipt uuid;
BEGIN
    IF v_key ? 'refused' THEN
        RETURN v_key;
    END IF;
    UPDATE muster.projects SET has_erasures = true WHERE id = v_project AND NOT has_erasures;
    -- One that was broken off goes on under its receipt.
    UPDATE muster.erasures SET requested_at = clock_timestamp()
     WHERE project_id = v_project AND user_hash = muster.subject_hash(v_project, p_user_id) AND completed_at IS NULL
    RETURNING receipt_id INTO v_receipt;
    IF NOT FOUND THEN
        INSERT INTO muster.erasures (project_id, user_hash)
        VALUES (v_project, muster.subject_hash(v_project, p_user_id)) RETURNING receipt_id INTO v_receipt;
    END IF;
    RETURN jsonb_build_object('receipt_id', v_receipt);
END
$$;

-- Erases up to p_most sessions of the user, and the rest when there are none; answers the receipt so far, with "done".
CREATE FUNCTION muster.run_erasure(p_key_hash bytea, p_user_id text, p_receipt_id uuid, p_most integer) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key CONSTANT jsonb := muster.project_of_key(p_key_hash, '{admin}');
    v_project CONSTANT uuid := v_key ->> 'project_id';
    v_erasure muster.erasures;
    v_whole uuid[];
    v_shared uuid[];
    v_events bigint := 0;
    v_sessions bigint := 0;
    v_consents bigint := 0;
    v_rejections bigint := 0;
    v_redemptions bigint := 0;
BEGIN
    IF v_key ? 'refused' THEN
        RETURN v_key;
    END IF;
    SELECT * INTO STRICT v_erasure FROM muster.erasures r
     WHERE r.receipt_id = p_receipt_id AND r.project_id = v_project AND r.user_hash = muster.subject_hash(v_project, p_user_id) FOR UPDATE;
    -- Whoever folds is done first, so that no watermark moves between the look and the deletion.
    PERFORM FROM muster.rollup_state WHERE project_id = v_project FOR UPDATE;
    SELECT coalesce(array_agg(s.session_id) FILTER (WHERE s.is_whole), '{}'), coalesce(array_agg(s.session_id) FILTER (WHERE NOT s.is_whole), '{}')
      INTO v_whole, v_shared FROM muster.sessions_of(v_project, p_user_id, p_most) s;
    INSERT INTO muster.erased_events AS k (project_id, event_hash, session_hash, was_stored)
    SELECT DISTINCT v_project, muster.subject_hash(v_project, e.id::text), muster.subject_hash(v_project, e.session_id::text), true FROM muster.analytics_events e
     WHERE e.project_id = v_project AND (e.session_id = ANY (v_whole) OR e.session_id = ANY (v_shared) AND e.user_id = p_user_id)
    ON CONFLICT (project_id, event_hash, session_hash) DO UPDATE SET was_stored = true WHERE NOT k.was_stored;
    INSERT INTO muster.erased_sessions AS s (project_id, session_hash, erased_at, is_whole)
    SELECT v_project, muster.subject_hash(v_project, t.id::text), clock_timestamp(), t.is_whole
      FROM (SELECT unnest(v_whole) AS id, true AS is_whole UNION ALL SELECT unnest(v_shared), false) t
    ON CONFLICT (project_id, session_hash) DO UPDATE SET erased_at = excluded.erased_at, is_whole = s.is_whole AND excluded.is_whole;
    v_events := muster.delete_events(v_project, v_whole, NULL) + muster.delete_events(v_project, v_shared, p_user_id);
    WITH gone AS (DELETE FROM muster.analytics_consent c WHERE c.project_id = v_project AND c.session_id = ANY (v_whole) RETURNING 1)
    SELECT count(*) INTO v_consents FROM gone;
    WITH gone AS (DELETE FROM muster.analytics_rejections q
                   WHERE q.project_id = v_project AND lower(q.session_id) = ANY (v_whole::text[]) RETURNING 1)
    SELECT count(*) INTO v_rejections FROM gone;
    WITH gone AS (DELETE FROM muster.pilot_redemptions r WHERE r.project_id = v_project AND r.session_id = ANY (v_whole) RETURNING 1)
    SELECT count(*) INTO v_redemptions FROM gone;
    DELETE FROM muster.pending_identities i WHERE i.project_id = v_project AND i.session_id = ANY (v_whole);
    DELETE FROM muster.analytics_sessions s WHERE s.project_id = v_project AND s.id = ANY (v_whole);
    UPDATE muster.analytics_sessions s SET user_id = NULL, updated_at = now()
     WHERE s.project_id = v_project AND s.id = ANY (v_shared) AND s.user_id = p_user_id;
    v_sessions := cardinality(v_whole);
    IF cardinality(v_whole) + cardinality(v_shared) < p_most THEN
        WITH gone AS (DELETE FROM muster.analytics_consent c WHERE c.project_id = v_project AND c.user_id = p_user_id RETURNING 1)
        SELECT v_consents + count(*) INTO v_consents FROM gone;
        WITH gone AS (DELETE FROM muster.analytics_rejections q WHERE q.project_id = v_project AND q.user_id = p_user_id RETURNING 1)
        SELECT v_rejections + count(*) INTO v_rejections FROM gone;
        WITH gone AS (DELETE FROM muster.pilot_redemptions r WHERE r.project_id = v_project AND r.user_id = p_user_id RETURNING 1)
        SELECT v_redemptions + count(*) INTO v_redemptions FROM gone;
        v_erasure.completed_at := clock_timestamp();
    END IF;
    UPDATE muster.erasures r SET completed_at = v_erasure.completed_at, events = r.events + v_events, sessions = r.sessions + v_sessions,
           consents = r.consents + v_consents, rejections = r.rejections + v_rejections,
           redemptions = r.redemptions + v_redemptions
     WHERE r.receipt_id = p_receipt_id RETURNING r.* INTO v_erasure;
    RETURN jsonb_build_object('done', v_erasure.completed_at IS NOT NULL, 'receipt_id', v_erasure.receipt_id, 'events', v_erasure.events,
        'sessions', v_erasure.sessions, 'consents', v_erasure.consents, 'rejections', v_erasure.rejections,
        'redemptions', v_erasure.redemptions, 'completed_at', v_erasure.completed_at);
END
$$;

-- What is stored about a user: a page of events, the earliest first, of those after p_after ([time, session, id]), and with the first
-- page all the rest. Answers {"sessions", "consents", "rejections", "redemptions", "events"}, or {"refused"}.
CREATE FUNCTION muster.get_subject(p_key_hash bytea, p_user_id text, p_after jsonb, p_limit integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key CONSTANT jsonb := muster.project_of_key(p_key_hash, '{admin}');
    v_project CONSTANT uuid := v_key ->> 'project_id';
    v_whole uuid[];
    v_shared uuid[];
    v_events jsonb;
    v_rest jsonb := '{}';
BEGIN
    IF v_key ? 'refused' THEN
        RETURN v_key;
    END IF;
    SELECT coalesce(array_agg(s.session_id) FILTER (WHERE s.is_whole), '{}'), coalesce(array_agg(s.session_id) FILTER (WHERE NOT s.is_whole), '{}')
      INTO v_whole, v_shared FROM muster.sessions_of(v_project, p_user_id, NULL) s;
    SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') INTO v_events FROM (
        SELECT e.id, e.session_id AS "sessionId", e.user_id AS "userId", e.event_type AS "eventType", e.area, e.occurred_at AS timestamp,
               e.received_at AS "receivedAt", e.batch_id AS "batchId", e.data
          FROM muster.analytics_events e
         WHERE e.project_id = v_project AND (e.session_id = ANY (v_whole) OR e.session_id = ANY (v_shared) AND e.user_id = p_user_id)
           AND (p_after IS NULL OR (e.occurred_at, e.session_id, e.id) > ((p_after ->> 0)::timestamptz, (p_after ->> 1)::uuid, (p_after ->> 2)::uuid))
         ORDER BY e.occurred_at, e.session_id, e.id LIMIT p_limit) t;
    IF p_after IS NULL THEN
        v_rest := jsonb_build_object(
            'sessions', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                    'sessionId', s.id, 'userId', s.user_id, 'startedAt', s.started_at, 'lastSeenAt', s.last_seen_at, 'endedAt', s.ended_at,
                    'eventsCount', s.events_count, 'browser', s.browser, 'context', s.context, 'createdAt', s.created_at) ORDER BY s.started_at, s.id), '[]')
                FROM muster.analytics_sessions s WHERE s.project_id = v_project
                 AND (s.id = ANY (v_whole) OR s.id = ANY (v_shared) AND s.user_id = p_user_id)),
            'consents', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                    'userId', c.user_id, 'sessionId', c.session_id, 'status', c.status, 'version', c.version,
                    'dataUsageAccepted', c.data_usage_accepted, 'decidedAt', c.decided_at, 'receivedAt', c.received_at) ORDER BY c.decided_at, c.id), '[]')
                FROM muster.analytics_consent c WHERE c.project_id = v_project AND (c.user_id = p_user_id OR c.session_id = ANY (v_whole))),
            'rejections', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                    'id', q.id, 'receivedAt', q.received_at, 'reason', q.reason, 'eventId', q.event_id, 'sessionId', q.session_id,
                    'details', q.details, 'payload', q.payload) ORDER BY q.id), '[]')
                FROM muster.analytics_rejections q WHERE q.project_id = v_project
                 AND (q.user_id = p_user_id OR lower(q.session_id) = ANY (v_whole::text[]))),
            'redemptions', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                    'tokenId', r.token_id, 'participantType', r.participant_type, 'userId', r.user_id, 'sessionId', r.session_id,
                    'redeemedAt', r.redeemed_at) ORDER BY r.redeemed_at, r.id), '[]')
                FROM muster.pilot_redemptions r WHERE r.project_id = v_project
                 AND (r.user_id = p_user_id OR r.session_id = ANY (v_whole))));
    END IF;
    RETURN v_rest || jsonb_build_object('events', v_events);
END
$$;

GRANT EXECUTE ON FUNCTION muster.begin_erasure, muster.run_erasure, muster.get_subject TO muster_ingest;
