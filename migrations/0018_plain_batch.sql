-- The plain batch with an answer of one text: SELECT f(…) is planned in half of the time of SELECT … FROM f(…), and what is JSON is
-- built and read again. record_plain_events stays: functions of the version before call it while a deployment replaces them, and again
-- if it is rolled back, for migrations are not.

-- Whether somebody has decided anything in the project: where nobody has, ingest need not look for what a batch's people decided.
ALTER TABLE muster.projects ADD COLUMN has_decisions boolean NOT NULL DEFAULT false;
CREATE FUNCTION muster.note_decisions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
BEGIN
    UPDATE muster.projects p SET has_decisions = true
     WHERE NOT p.has_decisions AND p.id IN (SELECT d.project_id FROM decisions d);
    RETURN NULL;
END
$$;
CREATE TRIGGER note_decisions AFTER INSERT ON muster.analytics_consent
    REFERENCING NEW TABLE AS decisions FOR EACH STATEMENT EXECUTE FUNCTION muster.note_decisions();
UPDATE muster.projects p SET has_decisions = true WHERE EXISTS (SELECT FROM muster.analytics_consent c WHERE c.project_id = p.id);

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
    v_project uuid;
    v_kind text;
    v_consent_mode text;
    v_has_decisions boolean;
    v_oldest timestamptz;
    v_accepted integer;
BEGIN
    SELECT k.project_id, k.kind, p.consent_mode, p.has_decisions,
           CASE WHEN k.kind = 'admin' THEN '1970-01-01 00:00:00+00' ELSE now() - make_interval(days => p.event_window_days) END
      INTO v_project, v_kind, v_consent_mode, v_has_decisions, v_oldest
      FROM muster.api_keys k JOIN muster.projects p ON p.id = k.project_id WHERE k.key_hash = p_key_hash AND k.revoked_at IS NULL;
    IF NOT FOUND THEN
        RETURN 'refused invalid_key';
    ELSIF v_kind NOT IN ('write', 'admin') THEN
        RETURN 'refused key_not_allowed';
    ELSIF p_first < v_oldest OR p_last > now() + interval '24 hours' OR v_consent_mode = 'opt_in' THEN
        RETURN 'closer';
    ELSIF v_has_decisions AND v_consent_mode <> 'off' AND (
        EXISTS (SELECT FROM muster.analytics_consent c WHERE c.project_id = v_project AND c.session_id = p_session_id)
        OR EXISTS (SELECT FROM muster.analytics_consent c WHERE c.project_id = v_project AND c.user_id = p_user_id)) THEN
        RETURN 'closer';
    END IF;
    BEGIN
        IF p_count = 1 THEN
            -- What the texts hold is the values themselves: nothing to take apart, a tenth less of what one event costs the server.
            INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, user_id, event_type, area, data)
            VALUES (v_project, p_session_id, p_ids::uuid, p_times::timestamptz, p_batch_id, p_user_id, p_event_types, p_areas,
                    p_data::jsonb);
        ELSE
            INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, user_id, event_type, area, data)
            SELECT v_project, p_session_id, e.id::uuid, e.at::timestamptz, p_batch_id, p_user_id, e.event_type, e.area, e.data::jsonb
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
