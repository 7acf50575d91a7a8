-- Sessions and events.

CREATE TABLE muster.analytics_sessions (
    project_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id text,
    participant_type text,
    started_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    ended_at timestamptz,
    events_count bigint NOT NULL DEFAULT 0,
    batches int4multirange NOT NULL DEFAULT '{}', -- sequences received: a gap is a hole in it
    dropped bigint NOT NULL DEFAULT 0, -- what the client's queue says it had to drop
    user_conflicts integer NOT NULL DEFAULT 0, -- batches that named another user than user_id
    clock_skew_ms bigint, -- server's clock less the client's, as the last batch was sent
    browser text,
    context jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, id)
) WITH (fillfactor = 80); -- room for a session's many updates to stay on its page
CREATE INDEX analytics_sessions_user ON muster.analytics_sessions (project_id, user_id) WHERE user_id IS NOT NULL;

-- No foreign key to sessions (30-37 % of ingest) and no GIN on data (× 1.6).
CREATE TABLE muster.analytics_events (
    project_id uuid NOT NULL,
    session_id uuid NOT NULL,
    id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    batch_id uuid NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(), -- what the rollups have not yet seen
    user_id text,
    event_type text NOT NULL,
    area text NOT NULL,
    data jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (project_id, session_id, id, occurred_at)
) PARTITION BY RANGE (occurred_at);
CREATE TABLE muster.analytics_events_default PARTITION OF muster.analytics_events DEFAULT;

CREATE INDEX analytics_events_time ON muster.analytics_events (project_id, occurred_at);
-- A lookup by id alone without a second, random btree.
CREATE INDEX analytics_events_id ON muster.analytics_events USING brin (id uuid_bloom_ops) WITH (pages_per_range = 32);

-- Creates the monthly partitions from p_from to p_to (months, inclusive) that are missing; answers how many.
-- Attached rather than created in place: that takes no lock on the parent that ingest would wait for. Events of the
-- month that arrived before its partition are in the default one, and move.
CREATE FUNCTION muster.ensure_partitions(p_from date, p_to date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_month date := date_trunc('month', p_from);
    v_name text;
    v_start timestamptz;
    v_end timestamptz;
    v_created integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('muster.ensure_partitions', 0));
    WHILE v_month <= p_to LOOP
        v_name := 'analytics_events_' || to_char(v_month, 'YYYY_MM');
        IF to_regclass(format('muster.%I', v_name)) IS NULL THEN
            v_start := v_month::timestamp AT TIME ZONE 'UTC';
            v_end := (v_month + interval '1 month') AT TIME ZONE 'UTC';
            EXECUTE format('CREATE TABLE muster.%I (LIKE muster.analytics_events INCLUDING DEFAULTS)', v_name);
            EXECUTE format('WITH moved AS (DELETE FROM muster.analytics_events_default
                             WHERE occurred_at >= %L AND occurred_at < %L RETURNING *)
                            INSERT INTO muster.%I SELECT * FROM moved', v_start, v_end, v_name);
            EXECUTE format('ALTER TABLE muster.analytics_events ATTACH PARTITION muster.%I FOR VALUES FROM (%L) TO (%L)',
                           v_name, v_start, v_end);
            v_created := v_created + 1;
        END IF;
        v_month := v_month + interval '1 month';
    END LOOP;
    RETURN v_created;
END
$$;
SELECT muster.ensure_partitions((now() - interval '1 month')::date, (now() + interval '3 months')::date);

GRANT SELECT ON muster.analytics_sessions, muster.analytics_events TO muster_reader, muster_admin;
GRANT EXECUTE ON FUNCTION muster.ensure_partitions TO muster_admin;
