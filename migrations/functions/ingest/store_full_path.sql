-- Stores a batch event by event, each in a subtransaction, so that a bad event does not affect the others.
--
-- p_request: {"requestId", "batchId", "sessionId", "userId", "sequence", "dropped", "sentAt", "optsOut",
--   "receivedAt": when the batch arrived, if it comes from the queue or is replayed,
--   "indexes": [index in the request…] of the events in p_body; absent if p_body has all events of the request,
--   "bots": [position in p_body…], "contexts": {session id: {"browser", "context"}},
--   "identities": [[session id, user id]…], the first user named in each session,
--   "rejections": [rejection…] in the form that muster.quarantine expects}
-- p_body: {"events": [event…]} as sent by the client, each with an id.
-- p_kind: the kind of the key. An admin key may store events of any time since 1970.
-- Returns {"project", "windowDays", "accepted", "redacted": number of redacted values, "others": [[position, status, reason]…]},
-- where status is duplicate, rejected or ignored.
CREATE OR REPLACE FUNCTION muster.store_full_path(p_project_id uuid, p_kind text, p_request jsonb, p_body text) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    -- Must be first: an erasure waits for all running transactions, but sees only those with a transaction id.
    v_xid CONSTANT xid8 := pg_current_xact_id();
    v_project muster.projects;
    v_session_id CONSTANT uuid := p_request ->> 'sessionId';
    v_received_at CONSTANT timestamptz := coalesce((p_request ->> 'receivedAt')::timestamptz, now());
    v_oldest timestamptz;
    v_opts_out boolean;
    v_body json; -- not jsonb, which would refuse all events because of one unstorable value
    v_raw record;
    v_event record;
    v_reason text;
    v_is_stored boolean;
    v_accepted integer := 0;
    v_redacted integer := 0;
    v_others jsonb := '[]';
    v_rejections jsonb := p_request -> 'rejections';
    v_seen text[] := '{}'; -- session and id of the events of this batch that are stored now or were stored before
    v_session_ids uuid[] := '{}'; -- the session of each event that this batch stores
    v_user_ids text[] := '{}'; -- the user that each of these events names
    v_times timestamptz[] := '{}'; -- the time of each of these events
    v_session record;
BEGIN
    SELECT * INTO STRICT v_project FROM muster.projects WHERE id = p_project_id;
    v_oldest := CASE WHEN p_kind = 'admin' THEN '1970-01-01 00:00:00+00'
                     ELSE v_received_at - make_interval(days => v_project.event_window_days) END;
    v_opts_out := v_project.honors_signals AND coalesce((p_request ->> 'optsOut')::boolean, false);
    IF v_project.has_decisions THEN
        PERFORM muster.carry_over_consent(p_project_id, array_agg((i ->> 0)::uuid ORDER BY n), array_agg(i ->> 1 ORDER BY n))
           FROM jsonb_array_elements(p_request -> 'identities') WITH ORDINALITY AS i(i, n);
    END IF;
    v_body := p_body;
    FOR v_raw IN
        SELECT e.value::text AS payload, e.ordinality::integer - 1 AS position,
               coalesce(p_request -> 'indexes' -> (e.ordinality::integer - 1), to_jsonb(e.ordinality::integer - 1)) AS index
          FROM json_array_elements(v_body -> 'events') WITH ORDINALITY AS e(value, ordinality)
    LOOP
        BEGIN
            SELECT e.id, e."timestamp" AS occurred_at, coalesce(e."sessionId", v_session_id) AS session_id,
                   coalesce(e."userId", p_request ->> 'userId') AS named_user_id,
                   coalesce(e."userId", p_request ->> 'userId',
                            muster.user_of_session(p_project_id, coalesce(e."sessionId", v_session_id))) AS user_id,
                   e."eventType" AS event_type, coalesce(nullif(e.area, ''), 'unknown') AS area, r.value AS data, r.redacted
              INTO STRICT v_event
              FROM jsonb_to_record(v_raw.payload::jsonb) AS e(id uuid, "sessionId" uuid, "userId" text, "eventType" text, area text,
                                                              "timestamp" timestamptz, data jsonb),
                   muster.redact(coalesce(e.data, '{}'), v_project) AS r;
            v_reason := CASE
                WHEN v_project.has_erasures AND muster.is_erased(p_project_id, v_event.session_id, v_event.id, v_event.user_id,
                         least(v_event.occurred_at, v_received_at)) THEN 'erased'
                WHEN v_event.occurred_at NOT BETWEEN v_oldest AND v_received_at + interval '24 hours' THEN 'timestamp_out_of_range'
                WHEN p_request -> 'bots' @> to_jsonb(v_raw.position) THEN 'bot'
                ELSE muster.consent_reason(v_project, v_event.user_id, v_event.session_id, v_opts_out) END;
            v_is_stored := false;
            IF v_reason = 'erased' THEN
                INSERT INTO muster.erased_events (project_id, event_hash, session_hash, was_stored)
                VALUES (p_project_id, muster.hash_subject(p_project_id, v_event.id::text),
                        muster.hash_subject(p_project_id, v_event.session_id::text), false) ON CONFLICT DO NOTHING;
            ELSIF v_reason = 'timestamp_out_of_range' THEN
                v_rejections := v_rejections || jsonb_build_object(
                    'index', v_raw.index, 'reason', v_reason,
                    'payload', CASE WHEN v_event.redacted = 0 THEN v_raw.payload
                                    ELSE jsonb_set(v_raw.payload::jsonb, '{data}', v_event.data)::text END,
                    'payloadBytes', octet_length(v_raw.payload), 'eventId', v_event.id, 'sessionId', v_event.session_id,
                    'userId', v_event.user_id);
            ELSIF v_reason IS NOT NULL THEN
                INSERT INTO muster.analytics_ignored (project_id, occurred_at, id, reason, batch_id)
                VALUES (p_project_id, v_event.occurred_at, v_event.id, v_reason, (p_request ->> 'batchId')::uuid)
                ON CONFLICT DO NOTHING;
            ELSIF v_event.session_id || ' ' || v_event.id <> ALL (v_seen) THEN
                -- If two events of a batch have the same id, the first is stored and the second is a duplicate.
                v_is_stored := muster.store_event(
                    p_project_id, v_event.session_id, v_event.id, v_event.occurred_at, v_received_at,
                    (p_request ->> 'batchId')::uuid, v_event.user_id, v_event.event_type, v_event.area, v_event.data);
                IF NOT v_is_stored AND NOT EXISTS (
                    SELECT FROM muster.analytics_events e
                     WHERE e.project_id = p_project_id AND e.session_id = v_event.session_id AND e.id = v_event.id
                       AND e.occurred_at = v_event.occurred_at) THEN
                    -- A trigger that is not Muster's skipped the event. The response must not say that it is a duplicate.
                    RAISE data_exception USING MESSAGE = 'the event was not stored';
                END IF;
                v_seen := v_seen || (v_event.session_id || ' ' || v_event.id);
            END IF;
            IF v_is_stored THEN
                v_accepted := v_accepted + 1;
                v_redacted := v_redacted + v_event.redacted;
                v_session_ids := v_session_ids || v_event.session_id;
                v_user_ids := v_user_ids || v_event.named_user_id;
                v_times := v_times || v_event.occurred_at;
            ELSE
                v_others := v_others || jsonb_build_array(jsonb_build_array(v_raw.position,
                    CASE WHEN v_reason IS NULL THEN 'duplicate' WHEN v_reason = 'timestamp_out_of_range' THEN 'rejected'
                         ELSE 'ignored' END, v_reason));
            END IF;
        EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
            v_others := v_others || jsonb_build_array(jsonb_build_array(v_raw.position, 'rejected', 'storage_error'));
            v_rejections := v_rejections || jsonb_build_object(
                'index', v_raw.index, 'reason', 'storage_error',
                'details', jsonb_build_array(jsonb_build_object('loc', '[]'::jsonb, 'type', 'sqlstate_' || lower(SQLSTATE),
                    'message', 'PostgreSQL cannot store a value of this event.')),
                'payload', v_raw.payload, 'payloadBytes', octet_length(v_raw.payload),
                'sessionId', p_request ->> 'sessionId', 'userId', p_request ->> 'userId');
        END;
    END LOOP;
    IF jsonb_array_length(v_rejections) > 0 THEN
        PERFORM muster.quarantine(p_project_id, p_request ->> 'requestId', (p_request ->> 'batchId')::uuid, v_rejections);
    END IF;
    FOR v_session IN
        SELECT s.id, (array_agg(s.user_id ORDER BY s.at) FILTER (WHERE s.user_id IS NOT NULL))[1] AS user_id,
               min(s.at) AS first_at, max(s.at) AS last_at, count(*) FILTER (WHERE s.is_event) AS events
          FROM (SELECT t.id, t.user_id, t.at, true AS is_event FROM unnest(v_session_ids, v_user_ids, v_times) AS t(id, user_id, at)
                UNION ALL
                -- The batch was received even if no event was stored, so its number must not be a gap in its session. A batch with
                -- ignored events does not create a session.
                SELECT v_session_id, p_request ->> 'userId', v_received_at, false
                 WHERE v_session_id <> ALL (v_session_ids) AND coalesce(p_request ->> 'sequence', p_request ->> 'dropped') IS NOT NULL
                   AND (NOT jsonb_path_exists(v_others, '$[*][1] ? (@ == "ignored")')
                        OR EXISTS (SELECT FROM muster.analytics_sessions WHERE project_id = p_project_id AND id = v_session_id))
                   -- A repeated batch changes nothing.
                   AND NOT EXISTS (SELECT FROM muster.analytics_sessions a WHERE a.project_id = p_project_id AND a.id = v_session_id
                                      AND coalesce(a.batches @> (p_request ->> 'sequence')::integer, true)
                                      AND a.dropped >= coalesce((p_request ->> 'dropped')::bigint, 0))) s
         GROUP BY s.id ORDER BY s.id -- ordered, so that two batches with many sessions cannot deadlock
    LOOP
        PERFORM muster.upsert_session(
            p_project_id, v_project.identifies_backwards, v_session.id, v_session.user_id, v_session.first_at, v_session.last_at, NULL,
            v_session.events, CASE WHEN v_session.id = v_session_id THEN (p_request ->> 'sequence')::integer END,
            CASE WHEN v_session.id = v_session_id THEN (p_request ->> 'dropped')::bigint END,
            (extract(epoch FROM v_received_at - (p_request ->> 'sentAt')::timestamptz) * 1000)::bigint,
            p_request -> 'contexts' -> v_session.id::text ->> 'browser',
            coalesce(p_request -> 'contexts' -> v_session.id::text -> 'context', '{}'));
    END LOOP;
    RETURN jsonb_build_object('project', p_project_id, 'windowDays', v_project.event_window_days, 'accepted', v_accepted,
                              'redacted', v_redacted, 'others', v_others);
END
$$;
