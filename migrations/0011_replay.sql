-- The quarantine can be searched, replayed and trimmed, and a flood of bad events does not fill the disk.

ALTER TABLE muster.analytics_rejections ADD COLUMN user_id text; -- of the event or its batch; null where consent forbids it
ALTER TABLE muster.analytics_rejections ADD COLUMN events bigint NOT NULL DEFAULT 1; -- more where a flood was counted together
CREATE INDEX analytics_rejections_event ON muster.analytics_rejections (project_id, event_id) WHERE event_id IS NOT NULL;
CREATE INDEX analytics_rejections_pending ON muster.analytics_rejections (project_id, id) WHERE replayed_at IS NULL;
-- A lookup by id alone. Nearly every id of a range of blocks is another one, so that the filters are larger than by default;
-- and ranges are summarised as they fill, for one that is not must be read.
DROP INDEX muster.analytics_events_id;
CREATE INDEX analytics_events_id ON muster.analytics_events
    USING brin (id uuid_bloom_ops (n_distinct_per_range = -0.2, false_positive_rate = 0.005))
    WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX analytics_ignored_id ON muster.analytics_ignored
    USING brin (id uuid_bloom_ops (n_distinct_per_range = -0.2, false_positive_rate = 0.005))
    WITH (pages_per_range = 32, autosummarize = on);

-- Puts rejected events aside. p_rejections: [{"index", "reason", "details", "payload", "payloadBytes", "eventId",
-- "sessionId", "userId", "occurredAt"}…]; in the order of fingerprints, so that two at once cannot deadlock.
-- Over ten thousand of a project in an hour are no longer kept one by one: one row counts an hour's further ones by reason.
CREATE OR REPLACE FUNCTION muster.quarantine(p_project_id uuid, p_request_id text, p_batch_id uuid, p_rejections jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
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
           CASE WHEN c.allows THEN left(r.payload, 16384) END, r."payloadBytes"
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

-- As before, but for the end: a batch's number is noted in its own session though all of its events are of others', and one of
-- which all was ignored leaves no trace of its session (JSON paths unwrap the arrays that they filter; "ignored" was not found).
CREATE OR REPLACE FUNCTION muster.store_batch(p_project_id uuid, p_kind text, p_request jsonb, p_body text) RETURNS jsonb
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

-- Stores again what was put aside, as if it came now under today's rules; its received time stays that of then.
-- Answers {"outcome": "stored" | "rejected" | "gone", "accepted", "others"} or {"refused"}; p_request is as record_events', and
-- "history": true lets events be as old as an admin key may send.
CREATE FUNCTION muster.replay_rejection(p_key_hash bytea, p_id bigint, p_request jsonb, p_body text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key record;
    v_row muster.analytics_rejections;
    v_stored jsonb;
BEGIN
    SELECT * INTO v_key FROM muster.authenticate(p_key_hash);
    IF NOT FOUND THEN
        RETURN '{"refused": "invalid_key"}';
    ELSIF v_key.kind <> 'admin' THEN
        RETURN '{"refused": "key_not_allowed"}';
    END IF;
    SELECT * INTO v_row FROM muster.analytics_rejections
     WHERE id = p_id AND project_id = v_key.project_id AND replayed_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN '{"outcome": "gone"}';
    END IF;
    -- What is rejected again changes nothing: it is in the quarantine already.
    BEGIN
        v_stored := muster.store_batch(v_row.project_id,
            CASE WHEN (p_request ->> 'history')::boolean THEN 'admin' ELSE 'write' END,
            p_request || jsonb_build_object('receivedAt', v_row.received_at, 'careful', true), p_body);
        IF v_row.event_index IS NOT NULL AND jsonb_path_exists(v_stored, '$.others[*][1] ? (@ == "rejected")') THEN
            RAISE EXCEPTION USING ERRCODE = 'MU000', MESSAGE = 'taken back';
        END IF;
    EXCEPTION WHEN SQLSTATE 'MU000' THEN
        RETURN jsonb_build_object('outcome', 'rejected', 'accepted', 0, 'others', v_stored -> 'others');
    END;
    UPDATE muster.analytics_rejections SET replayed_at = now(), payload = NULL WHERE id = p_id;
    RETURN jsonb_build_object('outcome', 'stored', 'accepted', v_stored -> 'accepted', 'others', v_stored -> 'others');
END
$$;

-- Takes the oldest rejections away: those over p_days old, and those over p_most of a project or over p_bytes of its payloads.
-- At most p_step at once; answers how many.
CREATE FUNCTION muster.trim_rejections(p_days integer, p_most integer, p_bytes bigint, p_step integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_trimmed integer;
BEGIN
    DELETE FROM muster.analytics_rejections WHERE id IN (
        SELECT id FROM (
            SELECT id, last_received_at, row_number() OVER newest AS number,
                   sum(octet_length(payload)) OVER newest AS bytes
              FROM muster.analytics_rejections WINDOW newest AS (PARTITION BY project_id ORDER BY received_at DESC, id DESC)) r
         WHERE last_received_at < now() - make_interval(days => p_days) OR number > p_most OR bytes > p_bytes
         ORDER BY id LIMIT p_step);
    GET DIAGNOSTICS v_trimmed = ROW_COUNT;
    RETURN v_trimmed;
END
$$;

GRANT EXECUTE ON FUNCTION muster.replay_rejection TO muster_reader;
GRANT EXECUTE ON FUNCTION muster.trim_rejections TO muster_admin;
