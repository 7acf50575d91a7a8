-- The fast path of ingest: stores a batch of one session and one user, with one statement for all events.
--
-- p_ids, p_times, p_event_types, p_areas and p_data have one value for each event, joined by U+001F, which occurs in no JSON text
-- and no valid value. p_first_at and p_last_at are the earliest and the latest of p_times. p_received_at is null unless the batch
-- comes from the queue. p_redacted_keys are the keys of data that the caller has checked: p_data has none of them.
-- Returns 'accepted <events> <project id>' if all events were stored, 'needs_full_path' if none was stored because
-- ingest_full_path must check each event, or 'refused <invalid_key | key_not_allowed>'.
CREATE OR REPLACE FUNCTION muster.ingest_fast_path(
    p_key_hash bytea, p_batch_id uuid, p_session_id uuid, p_user_id text, p_sequence integer, p_dropped bigint,
    p_sent_at timestamptz, p_received_at timestamptz, p_browser text, p_context jsonb, p_redacted_keys text[],
    p_count integer, p_first_at timestamptz, p_last_at timestamptz,
    p_ids text, p_times text, p_event_types text, p_areas text, p_data text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    -- Must be first: an erasure waits for all running transactions, but sees only those with a transaction id.
    v_xid CONSTANT xid8 := pg_current_xact_id();
    v_received_at CONSTANT timestamptz := coalesce(p_received_at, now());
    v_project_id uuid;
    v_is_in_window boolean;
    v_must_check boolean;
    v_data jsonb;
    v_stored integer;
    v_created boolean;
BEGIN
    -- The planner removes the join. It makes this statement fail if there is no table of projects.
    -- user_of_session is not called in this statement: a batch of one event then took longer, even with a user.
    SELECT k.project_id, p_last_at - v_received_at <= interval '24 hours' AND v_received_at - p_first_at <= k.event_window,
           k.may_need_full_path OR NOT k.redacted_keys <@ p_redacted_keys
      INTO v_project_id, v_is_in_window, v_must_check
      FROM muster.project_of_key(p_key_hash, '{write,admin}') k LEFT JOIN muster.projects p ON p.id = k.project_id;
    IF p_user_id IS NULL THEN
        -- An anonymous event of an identified session is its user's. The session itself has this user already.
        p_user_id := muster.user_of_session(v_project_id, p_session_id);
    END IF;
    IF v_must_check OR v_is_in_window IS NOT TRUE THEN
        IF v_project_id IS NULL THEN
            RETURN 'refused ' || muster.refusal_of_key(p_key_hash);
        ELSIF NOT v_is_in_window OR muster.needs_full_path(v_project_id, p_session_id, p_user_id, p_data, p_redacted_keys) THEN
            RETURN 'needs_full_path';
        END IF;
    END IF;
    IF p_count = 1 THEN
        -- Some clients mostly send single events. This avoids the splitting of texts, and a subtransaction that writes.
        BEGIN
            v_data := p_data;
        EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
            RETURN 'needs_full_path';
        END;
        IF NOT muster.store_event(v_project_id, p_session_id, p_ids::uuid, p_first_at, v_received_at, p_batch_id, p_user_id,
                                  p_event_types, p_areas, v_data) THEN
            RETURN 'needs_full_path';
        END IF;
    ELSE
        BEGIN
            INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, received_at, batch_id, xid, user_id,
                   event_type, area, data)
            -- In the SELECT list, because in FROM each unnest would materialise all of its rows first.
            SELECT v_project_id, p_session_id, unnest(string_to_array(p_ids, chr(31)))::uuid,
                   unnest(string_to_array(p_times, chr(31)))::timestamptz, v_received_at, p_batch_id, v_xid::text::bigint, p_user_id,
                   unnest(string_to_array(p_event_types, chr(31))), unnest(string_to_array(p_areas, chr(31))),
                   unnest(string_to_array(p_data, chr(31)))::jsonb;
            GET DIAGNOSTICS v_stored = ROW_COUNT;
            -- A trigger that is not Muster's may have skipped a row. The response must not say that it was stored.
            IF v_stored <> p_count THEN
                RAISE unique_violation USING MESSAGE = 'some events of the batch were not stored';
            END IF;
        EXCEPTION WHEN unique_violation OR data_exception OR program_limit_exceeded THEN
            RETURN 'needs_full_path';
        END;
    END IF;
    v_created := muster.upsert_session( -- not PERFORM, which would plan a statement
        v_project_id, false, p_session_id, p_user_id, p_first_at, p_last_at, NULL, p_count, p_sequence, p_dropped,
        (extract(epoch FROM v_received_at - p_sent_at) * 1000)::bigint, p_browser, p_context);
    RETURN concat_ws(' ', 'accepted', p_count, v_project_id);
END
$$;

GRANT EXECUTE ON FUNCTION muster.ingest_fast_path TO muster_ingest;
