-- Sessions and events.

CREATE TABLE muster.analytics_sessions (
    project_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id text, -- the first user of the session
    started_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    ended_at timestamptz,
    events_count bigint NOT NULL DEFAULT 0,
    batches int4multirange NOT NULL DEFAULT '{}', -- the numbers of the batches received; a gap is a missing batch
    dropped bigint NOT NULL DEFAULT 0, -- events that the client's queue dropped, as reported by the client
    user_conflicts integer NOT NULL DEFAULT 0, -- the number of batches with a user other than user_id
    clock_skew_ms bigint, -- the server's clock minus the client's when the latest batch was sent
    browser text,
    context jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, id)
) WITH (fillfactor = 80); -- sessions are updated often, so leave room for new row versions on the page
CREATE INDEX analytics_sessions_user ON muster.analytics_sessions (project_id, user_id) WHERE user_id IS NOT NULL;
-- Finds the sessions of a day for the delivery checks. Only the first batch of a session updates it.
CREATE INDEX analytics_sessions_created ON muster.analytics_sessions (project_id, created_at);

-- No foreign key to sessions (it would cost 30-37 % of ingest) and no GIN index on data (ingest would take 1.6 times as long).
CREATE TABLE muster.analytics_events (
    project_id uuid NOT NULL,
    session_id uuid NOT NULL,
    id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    batch_id uuid NOT NULL,
    -- The transaction that stored the event; finds new events. A bigint, because BRIN has no operators for xid8.
    xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    user_id text,
    event_type text NOT NULL,
    area text NOT NULL,
    data jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (project_id, session_id, id, occurred_at)
) PARTITION BY RANGE (occurred_at);
CREATE TABLE muster.analytics_events_default PARTITION OF muster.analytics_events DEFAULT;

-- Finds an event by its id at a fraction of a btree's cost. Almost all ids in a page range differ, so the bloom filters are
-- larger than by default. Without autosummarize, new ranges would be read in full.
CREATE INDEX analytics_events_id ON muster.analytics_events
    USING brin (id uuid_bloom_ops (n_distinct_per_range = -0.2, false_positive_rate = 0.005))
    WITH (pages_per_range = 32, autosummarize = on);
-- Finds recent events. The rows of a transaction are next to each other, so a few entries are enough.
CREATE INDEX analytics_events_xid ON muster.analytics_events USING brin (xid) WITH (pages_per_range = 128, autosummarize = on);
-- BRIN, because a btree on time would cost an eighth of ingest and a fifth of its WAL.
CREATE INDEX analytics_events_time ON muster.analytics_events USING brin (occurred_at) WITH (pages_per_range = 32, autosummarize = on);

-- Ignored events: without consent, or sent by a bot.
CREATE TABLE muster.analytics_ignored (
    project_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    id uuid NOT NULL,
    reason text NOT NULL CHECK (reason IN ('consent_denied', 'consent_missing', 'bot')),
    batch_id uuid NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, occurred_at, id)
);
CREATE INDEX analytics_ignored_id ON muster.analytics_ignored
    USING brin (id uuid_bloom_ops (n_distinct_per_range = -0.2, false_positive_rate = 0.005))
    WITH (pages_per_range = 32, autosummarize = on);

-- The quarantine: rejected events and refused requests.
CREATE TABLE muster.analytics_rejections (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id uuid NOT NULL,
    fingerprint bytea NOT NULL, -- the same event has the same fingerprint, so it is one row however often it is rejected
    attempts integer NOT NULL DEFAULT 1,
    received_at timestamptz NOT NULL DEFAULT now(),
    last_received_at timestamptz NOT NULL DEFAULT now(),
    occurred_at timestamptz, -- the event's own time, if it is plausible
    request_id text,
    batch_id uuid,
    session_id text,
    user_id text, -- the event's or its batch's; null if consent forbids it
    event_id text,
    event_index integer, -- null for a whole request
    reason text NOT NULL,
    details jsonb NOT NULL DEFAULT '[]',
    payload text, -- as received, cut at 16 KiB; null if consent forbids it
    payload_bytes integer,
    events bigint NOT NULL DEFAULT 1, -- more than 1 if one row counts many rejections of an hour
    replayed_at timestamptz,
    UNIQUE (project_id, fingerprint)
);
CREATE INDEX analytics_rejections_received ON muster.analytics_rejections (project_id, received_at);
CREATE INDEX analytics_rejections_event ON muster.analytics_rejections (project_id, event_id) WHERE event_id IS NOT NULL;
CREATE INDEX analytics_rejections_pending ON muster.analytics_rejections (project_id, id) WHERE replayed_at IS NULL;

-- The reconciliation of the sessions' counters with their events: one row for each project, written by maintenance.
CREATE TABLE muster.reconciliations (
    project_id uuid PRIMARY KEY REFERENCES muster.projects,
    watermark bigint NOT NULL, -- sessions changed by earlier transactions were checked
    checked_at timestamptz NOT NULL DEFAULT now(),
    sessions bigint NOT NULL, -- the number of sessions in the latest check
    differing bigint NOT NULL, -- how many of them have a wrong counter
    events_apart bigint NOT NULL, -- the sum of the differences
    examples uuid[] NOT NULL DEFAULT '{}'
);

-- The progress of the archive: one row.
CREATE TABLE muster.archive_state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    watermark bigint NOT NULL DEFAULT 0, -- events of earlier transactions are archived
    planned bigint, -- the next watermark, while the objects up to it are being written
    system_identifier bigint NOT NULL, -- the server that the transaction ids belong to
    events bigint NOT NULL DEFAULT 0,
    archived_at timestamptz
);

GRANT SELECT ON muster.analytics_sessions, muster.analytics_events, muster.analytics_ignored, muster.analytics_rejections,
      muster.reconciliations TO muster_reader, muster_admin;
GRANT SELECT, UPDATE ON muster.archive_state TO muster_admin;
