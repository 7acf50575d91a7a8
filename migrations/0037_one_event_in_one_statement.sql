-- A batch of one event is stored by one statement: its key, what its project asks for, the event and its session. Each statement
-- more costs the server a tenth of it. What is not stored so is looked at as a batch of many is.
CREATE OR REPLACE FUNCTION muster.record_plain_batch(
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
    v_number CONSTANT bigint := v_xid::text::bigint;
    v_now CONSTANT timestamptz := now();
BEGIN
    IF p_count = 1 THEN
        BEGIN
            WITH event AS (
                INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, user_id, event_type, area, data)
                SELECT k.project_id, p_session_id, p_ids::uuid, p_times::timestamptz, p_batch_id,
                       coalesce(p_user_id, muster.user_of(p.id, p_session_id)), p_event_types, p_areas, p_data::jsonb
                  FROM muster.api_keys k JOIN muster.projects p ON p.id = k.project_id
                 WHERE k.key_hash = p_key_hash AND k.revoked_at IS NULL AND k.kind IN ('write', 'admin')
                   AND (k.kind = 'admin' OR p_first >= now() - make_interval(days => p.event_window_days))
                   AND p_last <= now() + interval '24 hours'
                   AND NOT CASE WHEN p.consent_mode = 'opt_in' OR p.has_decisions OR p.has_erasures
                                  OR NOT p.redacted_keys <@ '{email,password,token}' OR p.identifies_backwards
                           THEN muster.must_look_closer(p, p_session_id, coalesce(p_user_id, muster.user_of(p.id, p_session_id)), p_data)
                           ELSE false END
                RETURNING project_id
            )
            INSERT INTO muster.analytics_sessions AS s (project_id, id, user_id, started_at, last_seen_at, events_count, batches,
                   dropped, clock_skew_ms, browser, context)
            SELECT e.project_id, p_session_id, p_user_id, p_first, p_last, 1,
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
        EXCEPTION WHEN unique_violation OR data_exception OR program_limit_exceeded THEN
            RETURN 'closer';
        END;
        IF v_project IS NOT NULL THEN
            RETURN concat_ws(' ', 'accepted', p_count, v_project);
        END IF;
    END IF;
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
        INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, received_at, batch_id, xid, user_id,
               event_type, area, data)
        SELECT v_project, p_session_id, e.id::uuid, e.at::timestamptz, v_now, p_batch_id, v_number, v_user,
               e.event_type, e.area, e.data::jsonb
          FROM (SELECT unnest(string_to_array(p_ids, chr(31))) AS id, unnest(string_to_array(p_times, chr(31))) AS at,
                       unnest(string_to_array(p_event_types, chr(31))) AS event_type,
                       unnest(string_to_array(p_areas, chr(31))) AS area, unnest(string_to_array(p_data, chr(31))) AS data) e;
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
