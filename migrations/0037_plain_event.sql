-- A plain batch of one event, stored by one statement: each more that asks for its key, for what its project keeps, and that counts
-- the event in its session costs the server a tenth of it.
-- Answers "accepted 1 <project>" when the event is stored, and "closer" when nothing is: for the key may not write, the event is of
-- another time, consent and erasures must be asked, it was stored before, or PostgreSQL refuses a value. record_events says which.
CREATE FUNCTION muster.record_plain_event(
    p_key_hash bytea, p_batch_id uuid, p_session_id uuid, p_user_id text, p_sequence integer, p_dropped bigint, p_sent_at timestamptz,
    p_browser text, p_context jsonb, p_id uuid, p_event_type text, p_area text, p_occurred_at timestamptz, p_data text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    -- First of all: who erases waits for every transaction that has begun, and one without a number shows in no snapshot.
    v_xid CONSTANT xid8 := pg_current_xact_id();
    v_project uuid;
BEGIN
    WITH event AS (
        INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, user_id, event_type, area, data)
        SELECT p.id, p_session_id, p_id, p_occurred_at, p_batch_id, coalesce(p_user_id, muster.user_of(p.id, p_session_id)),
               p_event_type, p_area, p_data::jsonb
          FROM muster.api_keys k JOIN muster.projects p ON p.id = k.project_id
         WHERE k.key_hash = p_key_hash AND k.revoked_at IS NULL AND k.kind IN ('write', 'admin')
           AND p_occurred_at >= CASE WHEN k.kind = 'admin' THEN '1970-01-01 00:00:00+00'
                                     ELSE now() - make_interval(days => p.event_window_days) END
           AND p_occurred_at <= now() + interval '24 hours'
           -- Of whom nothing was decided, it answers null.
           AND (CASE WHEN p.consent_mode = 'opt_in' OR p.has_decisions OR p.has_erasures
                       OR NOT p.redacted_keys <@ '{email,password,token}' OR p.identifies_backwards
                THEN muster.must_look_closer(p, p_session_id, coalesce(p_user_id, muster.user_of(p.id, p_session_id)), p_data)
                END) IS NOT TRUE
        RETURNING project_id
    )
    INSERT INTO muster.analytics_sessions AS s (project_id, id, user_id, started_at, last_seen_at, events_count, batches, dropped,
           clock_skew_ms, browser, context)
    SELECT e.project_id, p_session_id, p_user_id, p_occurred_at, p_occurred_at, 1,
           CASE WHEN p_sequence IS NULL THEN '{}' ELSE int4multirange(int4range(p_sequence, p_sequence, '[]')) END,
           coalesce(p_dropped, 0), (extract(epoch FROM now() - p_sent_at) * 1000)::bigint, p_browser, p_context
      FROM event e
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
    RETURNING s.project_id INTO v_project;
    IF v_project IS NULL THEN
        -- What a trigger that somebody made kept from one of the two tables is not left in the other.
        RAISE unique_violation USING MESSAGE = 'the event was not stored';
    END IF;
    RETURN 'accepted 1 ' || v_project;
EXCEPTION WHEN unique_violation OR data_exception OR program_limit_exceeded THEN
    RETURN 'closer';
END
$$;
GRANT EXECUTE ON FUNCTION muster.record_plain_event TO muster_ingest;
