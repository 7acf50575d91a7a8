-- Erases up to p_most sessions of a user and, once no session is left, everything else. Returns the receipt so far with "done", or
-- {"refused"}. If several users share a session, only the erased user's events are deleted. Its anonymous events stay, because we
-- cannot tell which user they belong to.
CREATE OR REPLACE FUNCTION muster.run_erasure(p_key_hash bytea, p_user_id text, p_receipt_id uuid, p_most integer) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key record;
    v_project_id uuid;
    v_erasure muster.erasures;
    v_whole uuid[];
    v_shared uuid[];
    v_events bigint := 0;
    v_consents bigint := 0;
    v_rejections bigint := 0;
    v_redemptions bigint := 0;
BEGIN
    SELECT * INTO v_key FROM muster.project_of_key(p_key_hash, '{admin}');
    IF v_key.project_id IS NULL THEN
        RETURN jsonb_build_object('refused', muster.refusal_of_key(p_key_hash));
    END IF;
    v_project_id := v_key.project_id;
    SELECT * INTO STRICT v_erasure FROM muster.erasures r
     WHERE r.receipt_id = p_receipt_id AND r.project_id = v_project_id AND r.user_hash = muster.hash_subject(v_project_id, p_user_id) FOR UPDATE;
    -- Wait for a running roll-up, so that the watermark does not move between the search and the deletion.
    PERFORM FROM muster.rollup_state WHERE project_id = v_project_id FOR UPDATE;
    SELECT coalesce(array_agg(s.session_id) FILTER (WHERE s.is_whole), '{}'), coalesce(array_agg(s.session_id) FILTER (WHERE NOT s.is_whole), '{}')
      INTO v_whole, v_shared FROM muster.sessions_of_user(v_project_id, p_user_id, p_most) s;
    INSERT INTO muster.erased_events AS k (project_id, event_hash, session_hash, was_stored)
    SELECT DISTINCT v_project_id, muster.hash_subject(v_project_id, e.id::text), muster.hash_subject(v_project_id, e.session_id::text), true
      FROM muster.analytics_events e
     WHERE e.project_id = v_project_id AND (e.session_id = ANY (v_whole) OR e.session_id = ANY (v_shared) AND e.user_id = p_user_id)
    ON CONFLICT (project_id, event_hash, session_hash) DO UPDATE SET was_stored = true WHERE NOT k.was_stored;
    INSERT INTO muster.erased_sessions AS s (project_id, session_hash, erased_at, is_whole)
    SELECT v_project_id, muster.hash_subject(v_project_id, t.id::text), clock_timestamp(), t.is_whole
      FROM (SELECT unnest(v_whole) AS id, true AS is_whole UNION ALL SELECT unnest(v_shared), false) t
    ON CONFLICT (project_id, session_hash) DO UPDATE SET erased_at = excluded.erased_at, is_whole = s.is_whole AND excluded.is_whole;
    v_events := muster.delete_events(v_project_id, v_whole, NULL) + muster.delete_events(v_project_id, v_shared, p_user_id);
    WITH deleted AS (DELETE FROM muster.analytics_consent c WHERE c.project_id = v_project_id AND c.session_id = ANY (v_whole) RETURNING 1)
    SELECT count(*) INTO v_consents FROM deleted;
    WITH deleted AS (DELETE FROM muster.analytics_rejections q
                      WHERE q.project_id = v_project_id AND lower(q.session_id) = ANY (v_whole::text[]) RETURNING 1)
    SELECT count(*) INTO v_rejections FROM deleted;
    WITH deleted AS (DELETE FROM muster.pilot_redemptions r WHERE r.project_id = v_project_id AND r.session_id = ANY (v_whole) RETURNING 1)
    SELECT count(*) INTO v_redemptions FROM deleted;
    DELETE FROM muster.pending_identities i WHERE i.project_id = v_project_id AND i.session_id = ANY (v_whole);
    DELETE FROM muster.analytics_sessions s WHERE s.project_id = v_project_id AND s.id = ANY (v_whole);
    UPDATE muster.analytics_sessions s SET user_id = NULL, updated_at = now()
     WHERE s.project_id = v_project_id AND s.id = ANY (v_shared) AND s.user_id = p_user_id;
    IF cardinality(v_whole) + cardinality(v_shared) < p_most THEN
        WITH deleted AS (DELETE FROM muster.analytics_consent c WHERE c.project_id = v_project_id AND c.user_id = p_user_id RETURNING 1)
        SELECT v_consents + count(*) INTO v_consents FROM deleted;
        WITH deleted AS (DELETE FROM muster.analytics_rejections q WHERE q.project_id = v_project_id AND q.user_id = p_user_id RETURNING 1)
        SELECT v_rejections + count(*) INTO v_rejections FROM deleted;
        WITH deleted AS (DELETE FROM muster.pilot_redemptions r WHERE r.project_id = v_project_id AND r.user_id = p_user_id RETURNING 1)
        SELECT v_redemptions + count(*) INTO v_redemptions FROM deleted;
        v_erasure.completed_at := clock_timestamp();
    END IF;
    UPDATE muster.erasures r
       SET completed_at = v_erasure.completed_at, events = r.events + v_events, sessions = r.sessions + cardinality(v_whole),
           consents = r.consents + v_consents, rejections = r.rejections + v_rejections, redemptions = r.redemptions + v_redemptions
     WHERE r.receipt_id = p_receipt_id RETURNING r.* INTO v_erasure;
    RETURN jsonb_build_object('done', v_erasure.completed_at IS NOT NULL, 'receipt_id', v_erasure.receipt_id, 'events', v_erasure.events,
        'sessions', v_erasure.sessions, 'consents', v_erasure.consents, 'rejections', v_erasure.rejections,
        'redemptions', v_erasure.redemptions, 'completed_at', v_erasure.completed_at);
END
$$;

GRANT EXECUTE ON FUNCTION muster.run_erasure TO muster_people;
