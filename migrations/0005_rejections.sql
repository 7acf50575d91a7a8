-- The quarantine, and what was ignored on purpose: every event that is not stored is accounted for here.

CREATE TABLE muster.analytics_rejections (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id uuid NOT NULL,
    fingerprint bytea NOT NULL, -- the same event, rejected again, is the same rejection
    attempts integer NOT NULL DEFAULT 1,
    received_at timestamptz NOT NULL DEFAULT now(),
    last_received_at timestamptz NOT NULL DEFAULT now(),
    occurred_at timestamptz, -- as the event says, when it can be believed
    request_id text,
    batch_id uuid,
    session_id text,
    event_id text,
    event_index integer,
    reason text NOT NULL,
    details jsonb NOT NULL DEFAULT '[]',
    payload text, -- as received, cut at 16 KiB; null where consent forbids it
    payload_bytes integer,
    replayed_at timestamptz,
    UNIQUE (project_id, fingerprint)
);
CREATE INDEX analytics_rejections_received ON muster.analytics_rejections (project_id, received_at);

CREATE TABLE muster.analytics_ignored (
    project_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    id uuid NOT NULL,
    reason text NOT NULL CHECK (reason IN ('consent_denied', 'consent_missing', 'bot')),
    batch_id uuid NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, occurred_at, id)
);

-- Puts rejected events aside. p_rejections: [{"index", "reason", "details", "payload", "payloadBytes", "eventId",
-- "sessionId", "userId", "occurredAt"}…]; in the order of fingerprints, so that two at once cannot deadlock.
CREATE FUNCTION muster.quarantine(p_project_id uuid, p_request_id text, p_batch_id uuid, p_rejections jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO muster.analytics_rejections AS q (project_id, fingerprint, occurred_at, request_id, batch_id, session_id,
           event_id, event_index, reason, details, payload, payload_bytes)
    SELECT DISTINCT ON (f.fingerprint) p_project_id, f.fingerprint, r."occurredAt", p_request_id, p_batch_id, r."sessionId",
           r."eventId", r.index, r.reason, coalesce(r.details, '[]'),
           CASE WHEN coalesce(muster.consent_of(p_project_id, r."userId",
                     CASE WHEN r."sessionId" ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' THEN r."sessionId"::uuid END),
                     'unknown') NOT IN ('denied', 'withdrawn') THEN left(r.payload, 16384) END,
           r."payloadBytes"
      FROM jsonb_to_recordset(p_rejections) AS r(index integer, reason text, details jsonb, payload text,
           "payloadBytes" integer, "eventId" text, "sessionId" text, "userId" text, "occurredAt" timestamptz),
           LATERAL (SELECT sha256(convert_to(r.reason || ' ' || coalesce(r."sessionId", '') || ' ' || coalesce(r.payload, ''), 'UTF8'))
                    AS fingerprint) f
     ORDER BY f.fingerprint, r.index
    ON CONFLICT (project_id, fingerprint)
    DO UPDATE SET attempts = q.attempts + 1, last_received_at = now(), replayed_at = NULL;
END
$$;

GRANT SELECT ON muster.analytics_rejections, muster.analytics_ignored TO muster_reader, muster_admin;
