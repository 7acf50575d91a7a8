-- Adds rejected events and refused requests to the quarantine.
-- p_rejections: [{"index", "reason", "details", "payload", "payloadBytes", "eventId", "sessionId", "userId", "occurredAt"}…]
-- After ten thousand rejections of a project within an hour, further ones are only counted, in one row for each reason and hour.
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
           LATERAL (SELECT coalesce(muster.consent_status(p_project_id, r."userId",
                           CASE WHEN r."sessionId" ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' THEN r."sessionId"::uuid END),
                           'unknown') NOT IN ('denied', 'withdrawn') AS allows) c,
           LATERAL (SELECT CASE WHEN r.reason = 'timestamp_out_of_range' THEN jsonb_build_array(jsonb_build_object(
                           'loc', jsonb_build_array('events', r.index, 'timestamp'), 'type', r.reason, 'message',
                           'The event is older than the project''s window or more than 24 hours ahead of the server.')) END AS details) d
     ORDER BY f.fingerprint, r.index -- ordered, so that two batches cannot deadlock
    ON CONFLICT (project_id, fingerprint) DO UPDATE SET
           attempts = q.attempts + 1, last_received_at = now(), replayed_at = NULL, payload = excluded.payload,
           user_id = excluded.user_id;
END
$$;
