-- Ingest: one call, one transaction, one row of answer.
--
-- p_request describes the batch: {"requestId", "batchId", "sessionId", "userId", "sequence", "dropped", "sentAt",
--   "receivedAt": when it came in, where it waited in a queue since; absent or null is now,
--   "count": candidates in p_body, "careful": true when the batch is known not to be plain,
--   "bots": [position…], "contexts": {sessionId: {"browser", "context"}}, "rejections": [as muster.quarantine]}
-- p_body holds {"events": [candidate…]} as the client sent them, never serialised again on the way.
-- The answer: {"project": id, "prefix": of the key, "windowDays": n, "mode": "fast" | "careful" | "single",
--   "accepted": n, "others": [[position, status, reason]…]}; or {"refused": "invalid_key" | "key_not_allowed"}.

-- Brings the sessions of new events up to date; sorted, so that two batches of many sessions cannot deadlock.
-- p_deltas: [{"session", "user", "first", "last", "events"}…]
CREATE FUNCTION muster.touch_sessions(p_project_id uuid, p_request jsonb, p_deltas jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO muster.analytics_sessions AS s (project_id, id, user_id, started_at, last_seen_at, events_count, batches,
           dropped, user_conflicts, clock_skew_ms, browser, context)
    SELECT p_project_id, d.session, d."user", d.first, d.last, d.events,
           CASE WHEN d.session = b.session AND b.sequence IS NOT NULL
                THEN int4multirange(int4range(b.sequence, b.sequence, '[]')) ELSE '{}' END,
           CASE WHEN d.session = b.session THEN coalesce(b.dropped, 0) ELSE 0 END,
           0, b.skew_ms, c.about ->> 'browser', coalesce(c.about -> 'context', '{}')
      FROM jsonb_to_recordset(p_deltas) AS d(session uuid, "user" text, first timestamptz, last timestamptz, events bigint),
           (SELECT (p_request ->> 'sessionId')::uuid AS session, (p_request ->> 'sequence')::integer AS sequence,
                   (p_request ->> 'dropped')::bigint AS dropped,
                   (extract(epoch FROM coalesce((p_request ->> 'receivedAt')::timestamptz, now())
                            - (p_request ->> 'sentAt')::timestamptz) * 1000)::bigint AS skew_ms) b,
           LATERAL (SELECT p_request -> 'contexts' -> d.session::text AS about) c
     ORDER BY d.session
    ON CONFLICT (project_id, id) DO UPDATE SET
           user_id = coalesce(s.user_id, excluded.user_id),
           started_at = least(s.started_at, excluded.started_at),
           last_seen_at = greatest(s.last_seen_at, excluded.last_seen_at),
           events_count = s.events_count + excluded.events_count,
           batches = s.batches + excluded.batches,
           dropped = greatest(s.dropped, excluded.dropped),
           user_conflicts = s.user_conflicts + coalesce(excluded.user_id <> s.user_id, false)::integer,
           clock_skew_ms = coalesce(excluded.clock_skew_ms, s.clock_skew_ms),
           browser = coalesce(excluded.browser, s.browser),
           context = s.context || excluded.context,
           updated_at = now()
     -- A batch sent again changes nothing.
     WHERE excluded.events_count > 0 OR NOT s.batches @> excluded.batches OR s.dropped < excluded.dropped;
END
$$;

-- The plain case: every candidate is of one session and user, and is new. Answers the events stored, or raises
-- unique_violation when any is not.
CREATE FUNCTION muster.store_events_fast(p_project_id uuid, p_request jsonb, p_events jsonb,
                                         p_oldest timestamptz, p_newest timestamptz) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    v_session uuid := (p_request ->> 'sessionId')::uuid;
    v_user text := p_request ->> 'userId';
    v_batch uuid := (p_request ->> 'batchId')::uuid;
    v_received timestamptz := coalesce((p_request ->> 'receivedAt')::timestamptz, now());
    v_stored integer;
    v_first timestamptz;
    v_last timestamptz;
BEGIN
    WITH inserted AS (
        INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, received_at, batch_id, user_id,
                                             event_type, area, data)
        SELECT p_project_id, v_session, e.id, e."timestamp", v_received, v_batch, v_user, e."eventType", coalesce(nullif(e.area, ''), 'unknown'),
               coalesce(e.data, '{}')
          FROM jsonb_to_recordset(p_events) AS e(id uuid, "eventType" text, area text, "timestamp" timestamptz, data jsonb)
         WHERE e."timestamp" BETWEEN p_oldest AND p_newest
        RETURNING occurred_at)
    SELECT count(*), min(occurred_at), max(occurred_at) INTO v_stored, v_first, v_last FROM inserted;
    IF v_stored < (p_request ->> 'count')::integer THEN
        RAISE unique_violation USING MESSAGE = 'not every event of the batch is plain';
    END IF;
    PERFORM muster.touch_sessions(p_project_id, p_request, jsonb_build_array(jsonb_build_object(
        'session', v_session, 'user', v_user, 'first', v_first, 'last', v_last, 'events', v_stored)));
    RETURN v_stored;
END
$$;

-- Any case: each candidate gets its own status. Answers {"accepted", "others": [[position, status, reason]…]}.
-- p_offset is the position of the first of p_events in the batch.
CREATE FUNCTION muster.store_events_carefully(p_project_id uuid, p_request jsonb, p_events jsonb, p_consent_mode text,
                                              p_oldest timestamptz, p_newest timestamptz, p_offset integer) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    v_session uuid := (p_request ->> 'sessionId')::uuid;
    v_user text := p_request ->> 'userId';
    v_batch uuid := (p_request ->> 'batchId')::uuid;
    v_received timestamptz := coalesce((p_request ->> 'receivedAt')::timestamptz, now());
    v_bots integer[] := ARRAY(SELECT jsonb_array_elements_text(p_request -> 'bots')::integer);
    v_deltas jsonb;
    v_answer jsonb;
    v_out_of_range jsonb;
BEGIN
    WITH candidate AS MATERIALIZED (
        SELECT p_offset + raw.ordinality::integer - 1 AS position, raw.value AS payload, e.id, e."timestamp" AS occurred_at,
               coalesce(e."sessionId", v_session) AS session_id, coalesce(e."userId", v_user) AS user_id,
               e."eventType" AS event_type, coalesce(nullif(e.area, ''), 'unknown') AS area, coalesce(e.data, '{}') AS data
          FROM jsonb_array_elements(p_events) WITH ORDINALITY AS raw,
               jsonb_to_record(raw.value) AS e(id uuid, "sessionId" uuid, "userId" text, "eventType" text, area text,
                                               "timestamp" timestamptz, data jsonb)
    ), subject AS MATERIALIZED (
        SELECT s.session_id, s.user_id, muster.consent_of(p_project_id, s.user_id, s.session_id) AS consent
          FROM (SELECT DISTINCT session_id, user_id FROM candidate WHERE p_consent_mode <> 'off') s
    ), judged AS MATERIALIZED (
        SELECT c.*, CASE
                 WHEN c.occurred_at NOT BETWEEN p_oldest AND p_newest THEN 'timestamp_out_of_range'
                 WHEN c.position = ANY (v_bots) THEN 'bot'
                 WHEN p_consent_mode <> 'off' AND s.consent IN ('denied', 'withdrawn') THEN 'consent_denied'
                 WHEN p_consent_mode = 'opt_in' AND s.consent IS NULL THEN 'consent_missing'
               END AS reason
          FROM candidate c LEFT JOIN subject s ON s.session_id = c.session_id AND s.user_id IS NOT DISTINCT FROM c.user_id
    ), fresh AS MATERIALIZED (
        -- The first of two alike in one batch is stored, the other is its duplicate.
        SELECT DISTINCT ON (session_id, id) * FROM judged WHERE reason IS NULL ORDER BY session_id, id, position
    ), inserted AS (
        INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, received_at, batch_id, user_id,
                                             event_type, area, data)
        SELECT p_project_id, session_id, id, occurred_at, v_received, v_batch, user_id, event_type, area, data
          FROM fresh ORDER BY session_id, id
        ON CONFLICT DO NOTHING
        RETURNING session_id, id, occurred_at
    ), stored AS (
        SELECT f.* FROM inserted i JOIN fresh f USING (session_id, id, occurred_at)
    ), ignored AS (
        INSERT INTO muster.analytics_ignored (project_id, occurred_at, id, reason, batch_id)
        SELECT p_project_id, occurred_at, id, min(reason), v_batch
          FROM judged WHERE reason IN ('bot', 'consent_denied', 'consent_missing')
         GROUP BY occurred_at, id ORDER BY occurred_at, id
        ON CONFLICT DO NOTHING
    )
    SELECT (SELECT jsonb_agg(to_jsonb(d)) FROM (
               SELECT session_id AS session, (array_agg(user_id ORDER BY occurred_at) FILTER (WHERE user_id IS NOT NULL))[1] AS "user",
                      min(occurred_at) AS first, max(occurred_at) AS last, count(*) AS events
                 FROM stored GROUP BY session_id) d),
           (SELECT jsonb_build_object('accepted', count(s.position), 'others', coalesce(jsonb_agg(jsonb_build_array(j.position,
                       CASE WHEN j.reason IS NULL THEN 'duplicate' WHEN j.reason = 'timestamp_out_of_range' THEN 'rejected'
                            ELSE 'ignored' END, j.reason) ORDER BY j.position) FILTER (WHERE s.position IS NULL), '[]'))
              FROM judged j LEFT JOIN stored s USING (position)),
           (SELECT jsonb_agg(jsonb_build_object('index', coalesce(p_request -> 'indexes' -> position, to_jsonb(position)),
                       'reason', reason, 'payload', payload::text, 'payloadBytes', octet_length(payload::text), 'eventId', id,
                       'sessionId', session_id, 'userId', user_id))
              FROM judged WHERE reason = 'timestamp_out_of_range')
      INTO v_deltas, v_answer, v_out_of_range;
    IF v_deltas IS NOT NULL THEN
        PERFORM muster.touch_sessions(p_project_id, p_request, v_deltas);
    END IF;
    IF v_out_of_range IS NOT NULL THEN
        PERFORM muster.quarantine(p_project_id, p_request ->> 'requestId', v_batch, v_out_of_range);
    END IF;
    RETURN v_answer;
END
$$;

-- Poison: one by one, each in a subtransaction of its own, so that it takes no neighbour with it.
CREATE FUNCTION muster.store_events_singly(p_project_id uuid, p_request jsonb, p_body text, p_consent_mode text,
                                           p_oldest timestamptz, p_newest timestamptz) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    v_event json; -- not jsonb: what jsonb refuses must still be told apart
    v_position integer := 0;
    v_one jsonb;
    v_accepted integer := 0;
    v_others jsonb := '[]';
BEGIN
    FOR v_event IN SELECT json_array_elements(p_body::json -> 'events') LOOP
        BEGIN
            v_one := muster.store_events_carefully(p_project_id, p_request, jsonb_build_array(v_event::text::jsonb),
                                                   p_consent_mode, p_oldest, p_newest, v_position);
            v_accepted := v_accepted + (v_one ->> 'accepted')::integer;
            v_others := v_others || (v_one -> 'others');
        EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
            v_others := v_others || jsonb_build_array(jsonb_build_array(v_position, 'rejected', 'storage_error'));
            PERFORM muster.quarantine(p_project_id, p_request ->> 'requestId', (p_request ->> 'batchId')::uuid,
                jsonb_build_array(jsonb_build_object(
                    'index', coalesce(p_request -> 'indexes' -> v_position, to_jsonb(v_position)), 'reason', 'storage_error',
                    'details', jsonb_build_array(jsonb_build_object('loc', '[]'::jsonb, 'type', 'sqlstate_' || lower(SQLSTATE),
                        'message', 'PostgreSQL refuses a value of this event.')),
                    'payload', v_event::text, 'payloadBytes', octet_length(v_event::text),
                    'sessionId', p_request ->> 'sessionId', 'userId', p_request ->> 'userId')));
        END;
        v_position := v_position + 1;
    END LOOP;
    RETURN jsonb_build_object('accepted', v_accepted, 'others', v_others);
END
$$;

CREATE FUNCTION muster.store_batch(p_project_id uuid, p_kind text, p_request jsonb, p_body text) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    v_project muster.projects;
    v_session uuid := (p_request ->> 'sessionId')::uuid;
    v_oldest timestamptz;
    v_received timestamptz := coalesce((p_request ->> 'receivedAt')::timestamptz, now());
    v_newest timestamptz := v_received + interval '24 hours';
    v_careful boolean := coalesce((p_request ->> 'careful')::boolean, false);
    v_count integer := (p_request ->> 'count')::integer;
    v_mode text;
    v_stored jsonb;
BEGIN
    SELECT * INTO STRICT v_project FROM muster.projects WHERE id = p_project_id;
    v_oldest := CASE WHEN p_kind = 'admin' THEN '1970-01-01 00:00:00+00'::timestamptz
                     ELSE v_received - make_interval(days => v_project.event_window_days) END;
    IF NOT v_careful AND v_project.consent_mode <> 'off' THEN
        v_careful := v_project.consent_mode = 'opt_in'
            OR EXISTS (SELECT FROM muster.analytics_consent WHERE project_id = p_project_id AND session_id = v_session)
            OR EXISTS (SELECT FROM muster.analytics_consent WHERE project_id = p_project_id AND user_id = p_request ->> 'userId');
    END IF;
    IF v_count = 0 THEN
        v_mode := 'none';
        v_stored := '{"accepted": 0, "others": []}';
    ELSE
        BEGIN
            IF v_careful THEN
                RAISE unique_violation USING MESSAGE = 'the batch is not plain';
            END IF;
            v_stored := jsonb_build_object('accepted', muster.store_events_fast(
                p_project_id, p_request, p_body::jsonb -> 'events', v_oldest, v_newest), 'others', '[]'::jsonb);
            v_mode := 'fast';
        EXCEPTION
            WHEN unique_violation THEN
                BEGIN
                    v_stored := muster.store_events_carefully(
                        p_project_id, p_request, p_body::jsonb -> 'events', v_project.consent_mode, v_oldest, v_newest, 0);
                    v_mode := 'careful';
                EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
                    v_mode := 'single';
                END;
            WHEN data_exception OR program_limit_exceeded THEN
                v_mode := 'single';
        END;
        IF v_mode = 'single' THEN
            v_stored := muster.store_events_singly(p_project_id, p_request, p_body, v_project.consent_mode, v_oldest, v_newest);
        END IF;
    END IF;
    IF jsonb_array_length(p_request -> 'rejections') > 0 THEN
        PERFORM muster.quarantine(p_project_id, p_request ->> 'requestId', (p_request ->> 'batchId')::uuid, p_request -> 'rejections');
    END IF;
    -- A batch that stored nothing new was received all the same: its sequence is no gap.
    IF (v_stored ->> 'accepted')::integer = 0 AND v_session IS NOT NULL
       AND coalesce(p_request ->> 'sequence', p_request ->> 'dropped') IS NOT NULL
       AND NOT jsonb_path_exists(v_stored, '$.others[*] ? (@[1] == "ignored")') THEN
        PERFORM muster.touch_sessions(p_project_id, p_request, jsonb_build_array(jsonb_build_object(
            'session', v_session, 'user', p_request ->> 'userId', 'first', now(), 'last', now(), 'events', 0)));
    END IF;
    RETURN v_stored || jsonb_build_object('project', p_project_id, 'mode', v_mode, 'windowDays', v_project.event_window_days);
END
$$;

-- What the ingest role may call. The key's kind decides, never the request.
CREATE FUNCTION muster.record_events(p_key_hash bytea, p_request jsonb, p_body text) RETURNS jsonb
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
    RETURN muster.store_batch(v_key.project_id, v_key.kind, p_request, p_body) || jsonb_build_object('prefix', v_key.prefix);
END
$$;

-- A request refused as a whole, of a key that can be read, is counted too.
CREATE FUNCTION muster.record_refused_request(p_key_hash bytea, p_request_id text, p_rejections jsonb) RETURNS jsonb
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
    PERFORM muster.quarantine(v_key.project_id, p_request_id, NULL, p_rejections);
    RETURN jsonb_build_object('project', v_key.project_id, 'prefix', v_key.prefix);
END
$$;

GRANT EXECUTE ON FUNCTION muster.record_events, muster.record_refused_request TO muster_ingest;
