-- Ingest, as it was, and with what people asked for: whose events are whose, what is not kept of data, and who was erased.

-- Whether a batch of a session and user must be looked at event by event.
CREATE FUNCTION muster.must_look_closer(p_project muster.projects, p_session_id uuid, p_user_id text, p_text text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT (p_project.has_decisions OR p_project.consent_mode = 'opt_in') AND (
               SELECT p_project.consent_mode = 'opt_in' AND c.consent IS DISTINCT FROM 'granted'
                      OR p_project.consent_mode = 'opt_out' AND c.consent IN ('denied', 'withdrawn')
                 FROM (SELECT muster.consent_of(p_project.id, p_user_id, p_session_id) AS consent) c)
        -- Though consent may be off: a session's decision follows to its user for when it is on again.
        OR p_project.has_decisions AND p_user_id IS NOT NULL AND EXISTS (
               SELECT FROM muster.analytics_consent c
                WHERE c.project_id = p_project.id AND c.session_id = p_session_id AND c.user_id IS NULL
                  AND NOT EXISTS (SELECT FROM muster.analytics_consent f
                                   WHERE f.project_id = p_project.id AND f.followed_from = c.id AND f.user_id = coalesce(
                                         (SELECT s.user_id FROM muster.analytics_sessions s
                                           WHERE s.project_id = p_project.id AND s.id = p_session_id), p_user_id)))
        OR p_project.has_erasures AND (
               EXISTS (SELECT FROM muster.erased_sessions s
                        WHERE s.project_id = p_project.id AND s.session_hash = muster.subject_hash(p_project.id, p_session_id::text))
               OR EXISTS (SELECT FROM muster.erasures r
                           WHERE r.project_id = p_project.id AND r.user_hash = muster.subject_hash(p_project.id, p_user_id)))
        -- Names that differ from the default: who reads a batch knows those alone.
        OR NOT p_project.redacted_keys <@ '{email,password,token}' AND (muster.names_key(p_text, p_project.redacted_keys) OR strpos(p_text, '\u') > 0)
        OR p_project.identifies_backwards AND p_user_id IS NOT NULL AND EXISTS (
               SELECT FROM muster.analytics_sessions s WHERE s.project_id = p_project.id AND s.id = p_session_id AND s.user_id IS NULL)
$$;

-- Whose a session is, as far as it is one user's alone.
CREATE FUNCTION muster.user_of(p_project_id uuid, p_session_id uuid) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT s.user_id FROM muster.analytics_sessions s WHERE s.project_id = p_project_id AND s.id = p_session_id AND s.user_conflicts = 0
$$;

-- The plain batch with an answer of one text: SELECT f(…) is planned in half of the time of SELECT … FROM f(…), and what is JSON is
-- built and read again.
-- Texts of columns, the values of each joined by U+001F, which no JSON text and no plain value holds; p_first and p_last are the
-- earliest and the latest of the times.
-- Answers "accepted <number> <project>" when every event is stored, "closer" when nothing is, for record_events must look at it, or
-- "refused <invalid_key | key_not_allowed>".
CREATE FUNCTION muster.record_plain_batch(
    p_key_hash bytea, p_batch_id uuid, p_session_id uuid, p_user_id text, p_sequence integer, p_dropped bigint, p_sent_at timestamptz,
    p_browser text, p_context jsonb, p_first timestamptz, p_last timestamptz,
    p_ids text, p_event_types text, p_areas text, p_times text, p_data text, p_count integer) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    -- First of all: who erases waits for every transaction that has begun, and one without a number shows in no snapshot.
    v_xid CONSTANT xid8 := pg_current_xact_id();
    v_project uuid;
    v_kind text;
    v_looks boolean;
    v_oldest timestamptz;
    v_user text := p_user_id;
    v_accepted integer;
BEGIN
    SELECT k.project_id, k.kind,
           p.consent_mode = 'opt_in' OR p.has_decisions OR p.has_erasures OR NOT p.redacted_keys <@ '{email,password,token}' OR p.identifies_backwards,
           CASE WHEN k.kind = 'admin' THEN '1970-01-01 00:00:00+00' ELSE now() - make_interval(days => p.event_window_days) END
      INTO v_project, v_kind, v_looks, v_oldest
      FROM muster.api_keys k JOIN muster.projects p ON p.id = k.project_id WHERE k.key_hash = p_key_hash AND k.revoked_at IS NULL;
    IF NOT FOUND THEN
        RETURN 'refused invalid_key';
    ELSIF v_kind NOT IN ('write', 'admin') THEN
        RETURN 'refused key_not_allowed';
    ELSIF p_first < v_oldest OR p_last > now() + interval '24 hours' THEN
        RETURN 'closer';
    END IF;
    IF p_user_id IS NULL THEN
        v_user := muster.user_of(v_project, p_session_id);
    END IF;
    IF v_looks AND (SELECT muster.must_look_closer(p, p_session_id, v_user, p_data) FROM muster.projects p WHERE p.id = v_project) THEN
        RETURN 'closer';
    END IF;
    BEGIN
        IF p_count = 1 THEN
            -- What the texts hold is the values themselves: nothing to take apart, a tenth less of what one event costs the server.
            INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, user_id, event_type, area, data)
            VALUES (v_project, p_session_id, p_ids::uuid, p_times::timestamptz, p_batch_id, v_user, p_event_types, p_areas,
                    p_data::jsonb);
        ELSE
            INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, user_id, event_type, area, data)
            SELECT v_project, p_session_id, e.id::uuid, e.at::timestamptz, p_batch_id, v_user, e.event_type, e.area, e.data::jsonb
              FROM unnest(string_to_array(p_ids, chr(31)), string_to_array(p_times, chr(31)), string_to_array(p_event_types, chr(31)),
                          string_to_array(p_areas, chr(31)), string_to_array(p_data, chr(31))) AS e(id, at, event_type, area, data);
        END IF;
        GET DIAGNOSTICS v_accepted = ROW_COUNT;
        -- What else may keep a row out, such as a trigger that somebody made, must not be answered as stored.
        IF v_accepted <> p_count THEN
            RAISE unique_violation USING MESSAGE = 'not every event of the batch was stored';
        END IF;
        INSERT INTO muster.analytics_sessions AS s (project_id, id, user_id, started_at, last_seen_at, events_count, batches, dropped,
               clock_skew_ms, browser, context)
        VALUES (v_project, p_session_id, p_user_id, p_first, p_last, v_accepted,
                CASE WHEN p_sequence IS NULL THEN '{}' ELSE int4multirange(int4range(p_sequence, p_sequence, '[]')) END,
                coalesce(p_dropped, 0), (extract(epoch FROM now() - p_sent_at) * 1000)::bigint, p_browser, p_context)
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
               updated_at = now();
    EXCEPTION WHEN unique_violation OR data_exception OR program_limit_exceeded THEN
        RETURN 'closer';
    END;
    RETURN concat_ws(' ', 'accepted', v_accepted, v_project);
END
$$;
GRANT EXECUTE ON FUNCTION muster.record_plain_batch TO muster_ingest;

-- What the version before calls.
CREATE OR REPLACE FUNCTION muster.record_plain_events(
    p_key_hash bytea, p_batch_id uuid, p_session_id uuid, p_user_id text, p_sequence integer, p_dropped bigint, p_sent_at timestamptz,
    p_browser text, p_context jsonb, p_first timestamptz, p_last timestamptz,
    p_ids text, p_event_types text, p_areas text, p_times text, p_data text, p_count integer,
    OUT refused text, OUT closer boolean, OUT project uuid, OUT prefix text, OUT accepted integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_words text[] := string_to_array(muster.record_plain_batch(p_key_hash, p_batch_id, p_session_id, p_user_id, p_sequence, p_dropped,
        p_sent_at, p_browser, p_context, p_first, p_last, p_ids, p_event_types, p_areas, p_times, p_data, p_count), ' ');
BEGIN
    refused := CASE WHEN v_words[1] = 'refused' THEN v_words[2] END;
    closer := v_words[1] = 'closer';
    accepted := CASE WHEN v_words[1] = 'accepted' THEN v_words[2]::integer END;
    project := CASE WHEN v_words[1] = 'accepted' THEN v_words[3]::uuid END;
    prefix := (SELECT k.prefix FROM muster.api_keys k WHERE k.key_hash = p_key_hash AND v_words[1] = 'accepted');
END
$$;

-- As before; and a session whose user becomes known claims its earlier events, where the project says so.
CREATE OR REPLACE FUNCTION muster.touch_sessions(p_project_id uuid, p_request jsonb, p_deltas jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_unknown uuid[];
    v_session record;
BEGIN
    IF (SELECT p.identifies_backwards FROM muster.projects p WHERE p.id = p_project_id) THEN
        v_unknown := ARRAY(SELECT s.id FROM jsonb_to_recordset(p_deltas) AS d(session uuid, "user" text)
                             JOIN muster.analytics_sessions s ON s.project_id = p_project_id AND s.id = d.session
                            WHERE s.user_id IS NULL AND d."user" IS NOT NULL);
    END IF;
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
    FOR v_session IN SELECT s.id, s.user_id FROM muster.analytics_sessions s
                      WHERE s.project_id = p_project_id AND s.id = ANY (v_unknown) AND s.user_id IS NOT NULL AND s.user_conflicts = 0
                      ORDER BY s.id LOOP
        PERFORM muster.claim_session(p_project_id, v_session.id, v_session.user_id);
    END LOOP;
END
$$;

-- As before; without a user, events are the session's.
CREATE OR REPLACE FUNCTION muster.store_events_fast(p_project_id uuid, p_request jsonb, p_events jsonb,
                                         p_oldest timestamptz, p_newest timestamptz) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    v_session uuid := (p_request ->> 'sessionId')::uuid;
    v_user text := coalesce(p_request ->> 'userId', muster.user_of(p_project_id, (p_request ->> 'sessionId')::uuid));
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
        'session', v_session, 'user', p_request ->> 'userId', 'first', v_first, 'last', v_last, 'events', v_stored)));
    RETURN v_stored;
END
$$;

-- As before; and it tells what is erased, leaves out of data what is not kept, and lets decisions follow to their users.
CREATE OR REPLACE FUNCTION muster.store_events_carefully(p_project_id uuid, p_request jsonb, p_events jsonb, p_consent_mode text,
                                              p_oldest timestamptz, p_newest timestamptz, p_offset integer) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    v_project muster.projects;
    v_opts_out boolean;
    v_session uuid := (p_request ->> 'sessionId')::uuid;
    v_user text := p_request ->> 'userId';
    v_batch uuid := (p_request ->> 'batchId')::uuid;
    v_received timestamptz := coalesce((p_request ->> 'receivedAt')::timestamptz, now());
    v_bots integer[] := ARRAY(SELECT jsonb_array_elements_text(p_request -> 'bots')::integer);
    v_deltas jsonb;
    v_answer jsonb;
    v_out_of_range jsonb;
BEGIN
    SELECT * INTO STRICT v_project FROM muster.projects WHERE id = p_project_id;
    v_opts_out := v_project.honors_signals AND coalesce((p_request ->> 'optsOut')::boolean, false);
    IF v_project.has_decisions THEN
        PERFORM muster.follow_decisions(p_project_id, array_agg(n.session_id ORDER BY n.at), array_agg(n.user_id ORDER BY n.at))
           FROM (SELECT coalesce(e."sessionId", v_session) AS session_id, coalesce(e."userId", v_user) AS user_id, min(e."timestamp") AS at
                   FROM jsonb_to_recordset(p_events) AS e("sessionId" uuid, "userId" text, "timestamp" timestamptz) GROUP BY 1, 2) n;
    END IF;
    WITH candidate AS MATERIALIZED (
        SELECT p_offset + raw.ordinality::integer - 1 AS position, raw.value AS payload, e.id, e."timestamp" AS occurred_at,
               coalesce(e."sessionId", v_session) AS session_id, coalesce(e."userId", v_user) AS named_user,
               coalesce(e."userId", v_user, muster.user_of(p_project_id, coalesce(e."sessionId", v_session))) AS user_id,
               e."eventType" AS event_type, coalesce(nullif(e.area, ''), 'unknown') AS area, r.value AS data, r.redacted
          FROM jsonb_array_elements(p_events) WITH ORDINALITY AS raw,
               jsonb_to_record(raw.value) AS e(id uuid, "sessionId" uuid, "userId" text, "eventType" text, area text,
                                               "timestamp" timestamptz, data jsonb),
               muster.redact(coalesce(e.data, '{}'), v_project) AS r
    ), subject AS MATERIALIZED (
        SELECT s.session_id, s.user_id, muster.consent_of(p_project_id, s.user_id, s.session_id) AS consent
          FROM (SELECT DISTINCT session_id, user_id FROM candidate WHERE p_consent_mode <> 'off') s
    ), judged AS MATERIALIZED (
        SELECT c.*, CASE
                 WHEN v_project.has_erasures
                      AND muster.is_erased(p_project_id, c.session_id, c.id, c.user_id, least(c.occurred_at, v_received)) THEN 'erased'
                 WHEN c.occurred_at NOT BETWEEN p_oldest AND p_newest THEN 'timestamp_out_of_range'
                 WHEN c.position = ANY (v_bots) THEN 'bot'
                 WHEN p_consent_mode <> 'off' AND s.consent IN ('denied', 'withdrawn') THEN 'consent_denied'
                 WHEN p_consent_mode <> 'off' AND v_opts_out AND s.consent IS NULL THEN 'consent_denied'
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
    ), erased AS (
        INSERT INTO muster.erased_events (project_id, event_hash, session_hash, was_stored)
        SELECT DISTINCT p_project_id, muster.subject_hash(p_project_id, id::text), muster.subject_hash(p_project_id, session_id::text), false
          FROM judged WHERE reason = 'erased' ORDER BY 2, 3
        ON CONFLICT DO NOTHING
    ), ignored AS (
        INSERT INTO muster.analytics_ignored (project_id, occurred_at, id, reason, batch_id)
        SELECT p_project_id, occurred_at, id, min(reason), v_batch
          FROM judged WHERE reason IN ('bot', 'consent_denied', 'consent_missing')
         GROUP BY occurred_at, id ORDER BY occurred_at, id
        ON CONFLICT DO NOTHING
    )
    SELECT (SELECT jsonb_agg(to_jsonb(d)) FROM (
               SELECT session_id AS session, (array_agg(named_user ORDER BY occurred_at) FILTER (WHERE named_user IS NOT NULL))[1] AS "user",
                      min(occurred_at) AS first, max(occurred_at) AS last, count(*) AS events
                 FROM stored GROUP BY session_id) d),
           (SELECT jsonb_build_object('accepted', count(s.position), 'redacted', coalesce(sum(s.redacted), 0), 'others', coalesce(jsonb_agg(jsonb_build_array(j.position,
                       CASE WHEN j.reason IS NULL THEN 'duplicate' WHEN j.reason = 'timestamp_out_of_range' THEN 'rejected'
                            ELSE 'ignored' END, j.reason) ORDER BY j.position) FILTER (WHERE s.position IS NULL), '[]'))
              FROM judged j LEFT JOIN stored s USING (position)),
           (SELECT jsonb_agg(jsonb_build_object('index', coalesce(p_request -> 'indexes' -> position, to_jsonb(position)),
                       'reason', reason, 'payload', CASE WHEN redacted > 0 THEN jsonb_set(payload, '{data}', data) ELSE payload END::text, 'payloadBytes', octet_length(payload::text), 'eventId', id,
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

CREATE OR REPLACE FUNCTION muster.store_events_singly(p_project_id uuid, p_request jsonb, p_body text, p_consent_mode text,
                                           p_oldest timestamptz, p_newest timestamptz) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    v_event json; -- not jsonb: what jsonb refuses must still be told apart
    v_position integer := 0;
    v_one jsonb;
    v_accepted integer := 0;
    v_redacted integer := 0;
    v_others jsonb := '[]';
BEGIN
    FOR v_event IN SELECT json_array_elements(p_body::json -> 'events') LOOP
        BEGIN
            v_one := muster.store_events_carefully(p_project_id, p_request, jsonb_build_array(v_event::text::jsonb),
                                                   p_consent_mode, p_oldest, p_newest, v_position);
            v_accepted := v_accepted + (v_one ->> 'accepted')::integer;
            v_redacted := v_redacted + (v_one ->> 'redacted')::integer;
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
    RETURN jsonb_build_object('accepted', v_accepted, 'redacted', v_redacted, 'others', v_others);
END
$$;

CREATE OR REPLACE FUNCTION muster.store_batch(p_project_id uuid, p_kind text, p_request jsonb, p_body text) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    -- First of all: who erases waits for every transaction that has begun, and one without a number shows in no snapshot.
    v_xid CONSTANT xid8 := pg_current_xact_id();
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
    IF NOT v_careful THEN
        v_careful := v_project.honors_signals AND coalesce((p_request ->> 'optsOut')::boolean, false)
            OR muster.must_look_closer(v_project, v_session,
                   coalesce(p_request ->> 'userId', muster.user_of(p_project_id, v_session)), p_body);
    END IF;
    IF v_count = 0 THEN
        v_mode := 'none';
        v_stored := '{"accepted": 0, "redacted": 0, "others": []}';
    ELSE
        BEGIN
            IF v_careful THEN
                RAISE unique_violation USING MESSAGE = 'the batch is not plain';
            END IF;
            v_stored := jsonb_build_object('accepted', muster.store_events_fast(
                p_project_id, p_request, p_body::jsonb -> 'events', v_oldest, v_newest), 'redacted', 0, 'others', '[]'::jsonb);
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
    -- Whatever became of its events, the batch was received: its sequence is no gap in its own session. Where some were ignored,
    -- a session that is not known is not made known by that.
    IF v_mode <> 'fast' AND v_session IS NOT NULL AND coalesce(p_request ->> 'sequence', p_request ->> 'dropped') IS NOT NULL
       AND (NOT jsonb_path_exists(v_stored, '$.others[*][1] ? (@ == "ignored")')
            OR EXISTS (SELECT FROM muster.analytics_sessions WHERE project_id = p_project_id AND id = v_session)) THEN
        PERFORM muster.touch_sessions(p_project_id, p_request, jsonb_build_array(jsonb_build_object(
            'session', v_session, 'user', p_request ->> 'userId', 'first', v_received, 'last', v_received, 'events', 0)));
    END IF;
    RETURN v_stored || jsonb_build_object('project', p_project_id, 'mode', v_mode, 'windowDays', v_project.event_window_days);
END
$$;

-- As before, less what is not kept of data.
CREATE OR REPLACE FUNCTION muster.quarantine(p_project_id uuid, p_request_id text, p_batch_id uuid, p_rejections jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_project muster.projects;
BEGIN
    SELECT * INTO STRICT v_project FROM muster.projects WHERE id = p_project_id;
    IF EXISTS (SELECT FROM muster.analytics_rejections WHERE project_id = p_project_id AND received_at > now() - interval '1 hour'
                OFFSET 9999 LIMIT 1) THEN
        INSERT INTO muster.analytics_rejections AS q (project_id, fingerprint, events, attempts, request_id, batch_id, reason)
        SELECT p_project_id, sha256(convert_to(r.reason || ' flood ' || date_trunc('hour', now()), 'UTF8')), count(*), count(*),
               p_request_id, p_batch_id, r.reason
          FROM jsonb_to_recordset(p_rejections) AS r(reason text) GROUP BY r.reason ORDER BY 2
        ON CONFLICT (project_id, fingerprint) DO UPDATE SET
               events = q.events + excluded.events, attempts = q.attempts + excluded.attempts, last_received_at = now();
        RETURN;
    END IF;
    INSERT INTO muster.analytics_rejections AS q (project_id, fingerprint, occurred_at, request_id, batch_id, session_id,
           user_id, event_id, event_index, reason, details, payload, payload_bytes)
    SELECT DISTINCT ON (f.fingerprint) p_project_id, f.fingerprint, r."occurredAt", p_request_id, p_batch_id, r."sessionId",
           CASE WHEN c.allows THEN r."userId" END, r."eventId", r.index, r.reason, coalesce(r.details, d.details, '[]'),
           CASE WHEN c.allows THEN muster.redact_payload(left(r.payload, 16384), v_project) END, r."payloadBytes"
      FROM jsonb_to_recordset(p_rejections) AS r(index integer, reason text, details jsonb, payload text,
           "payloadBytes" integer, "eventId" text, "sessionId" text, "userId" text, "occurredAt" timestamptz),
           LATERAL (SELECT sha256(convert_to(r.reason || ' ' || coalesce(r."sessionId", '') || ' ' || coalesce(r.payload, ''), 'UTF8'))
                    AS fingerprint) f,
           LATERAL (SELECT coalesce(muster.consent_of(p_project_id, r."userId",
                           CASE WHEN r."sessionId" ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' THEN r."sessionId"::uuid END),
                           'unknown') NOT IN ('denied', 'withdrawn') AS allows) c,
           LATERAL (SELECT CASE WHEN r.reason = 'timestamp_out_of_range' THEN jsonb_build_array(jsonb_build_object(
                           'loc', jsonb_build_array('events', r.index, 'timestamp'), 'type', r.reason, 'message',
                           'It is older than the project''s window, or more than 24 hours ahead of the server.')) END AS details) d
     ORDER BY f.fingerprint, r.index
    ON CONFLICT (project_id, fingerprint) DO UPDATE SET
           attempts = q.attempts + 1, last_received_at = now(), replayed_at = NULL, payload = excluded.payload,
           user_id = excluded.user_id;
END
$$;

-- As before; what a session decided follows to its user, who claims its earlier events where the project says so.
CREATE OR REPLACE FUNCTION muster.store_session(p_project_id uuid, p_session_id uuid, p_change jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    v_user text := p_change ->> 'userId';
    v_started timestamptz := (p_change ->> 'startedAt')::timestamptz;
    v_ended timestamptz := (p_change ->> 'endedAt')::timestamptz;
    v_batches int4multirange := CASE WHEN p_change ->> 'sequence' IS NULL THEN '{}'
        ELSE int4multirange(int4range((p_change ->> 'sequence')::integer, (p_change ->> 'sequence')::integer, '[]')) END;
    v_stored record;
    v_was_known boolean := EXISTS (SELECT FROM muster.analytics_sessions s
                                    WHERE s.project_id = p_project_id AND s.id = p_session_id AND s.user_id IS NOT NULL);
    v_project muster.projects;
BEGIN
    SELECT * INTO STRICT v_project FROM muster.projects WHERE id = p_project_id;
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
    IF v_user IS NOT NULL AND v_project.has_decisions THEN
        PERFORM muster.follow_decisions(p_project_id, ARRAY[p_session_id], ARRAY[v_user]);
    END IF;
    IF v_user IS NOT NULL AND v_project.identifies_backwards AND NOT v_was_known AND NOT v_stored.created THEN
        PERFORM muster.claim_session(p_project_id, p_session_id, v_user);
    END IF;
    RETURN muster.session_json(v_stored.session, v_stored.created);
END
$$;
