-- A session's user, once known, is whose events it brings from then on; and by a project's setting, whose those before were.

ALTER TABLE muster.projects ADD COLUMN identifies_backwards boolean NOT NULL DEFAULT false;
-- Sessions whose earlier events are to become their user's, as soon as who folds has done.
CREATE TABLE muster.pending_identities (
    project_id uuid NOT NULL,
    session_id uuid NOT NULL,
    user_id text NOT NULL,
    PRIMARY KEY (project_id, session_id)
);
GRANT SELECT ON muster.pending_identities TO muster_reader, muster_admin;

-- Takes folded events out of the rollups that are no longer there as they were; what is folded of their sessions is read anew.
CREATE FUNCTION muster.unfold_groups(p_state muster.rollup_state, p_removed muster.rollup_group[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_sessions uuid[] := ARRAY(SELECT DISTINCT session_id FROM unnest(p_removed));
    v_users text[] := ARRAY(SELECT DISTINCT user_id FROM unnest(p_removed) WHERE user_id IS NOT NULL);
    v_first timestamptz := (SELECT min(first_at) FROM unnest(p_removed));
    v_last timestamptz := (SELECT max(last_at) FROM unnest(p_removed));
    v_left muster.rollup_group[];
BEGIN
    IF p_removed IS NULL THEN
        RETURN;
    END IF;
    DELETE FROM muster.rollup_session_days WHERE project_id = p_state.project_id AND session_id = ANY (v_sessions);
    DELETE FROM muster.rollup_long_sessions WHERE project_id = p_state.project_id AND session_id = ANY (v_sessions);
    PERFORM muster.change_sessions(p_state, muster.parts_of(p_state, muster.folded_groups(p_state, v_sessions, NULL, true)),
                                   muster.parts_of(p_state, p_removed), '{}');
    v_sessions := ARRAY(SELECT session_id FROM muster.rollup_user_sessions
                         WHERE project_id = p_state.project_id AND user_id = ANY (v_users));
    PERFORM muster.remove_users(p_state, v_users);
    v_left := muster.folded_groups(p_state, v_sessions, v_users, true);
    PERFORM muster.add_to_users(p_state, muster.parts_of(p_state, v_left));
    INSERT INTO muster.rollup_user_sessions (project_id, user_id, session_id, first_day, last_day)
    SELECT p_state.project_id, user_id, session_id, min(day), max(day) FROM unnest(v_left) GROUP BY user_id, session_id;
    IF v_first <= p_state.first_at OR v_last >= p_state.last_at THEN
        UPDATE muster.rollup_state SET (first_at, last_at) = (
            SELECT min(e.occurred_at), max(e.occurred_at) FROM muster.analytics_events e
             WHERE e.project_id = p_state.project_id AND e.xid < coalesce(p_state.watermark, p_state.rebuild_to)
               AND e.occurred_at < coalesce(p_state.rebuilt_before, 'infinity'))
         WHERE project_id = p_state.project_id;
    END IF;
END
$$;

-- Deletes a user's events of the sessions, or everyone's where p_user_id is null, and keeps the rollups exact; answers how many.
CREATE OR REPLACE FUNCTION muster.delete_events(p_project_id uuid, p_session_ids uuid[], p_user_id text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_state muster.rollup_state;
    v_deleted bigint;
    v_removed muster.rollup_group[];
BEGIN
    SELECT * INTO v_state FROM muster.rollup_state WHERE project_id = p_project_id FOR UPDATE;
    WITH gone AS (
        DELETE FROM muster.analytics_events e
         WHERE e.project_id = p_project_id AND e.session_id = ANY (p_session_ids) AND (p_user_id IS NULL OR e.user_id = p_user_id)
        RETURNING e.*
    ), grouped AS (
        SELECT e.session_id, e.user_id, e.event_type, e.area,
               ARRAY(SELECT e.data ->> k FROM unnest(v_state.keys) k) AS key_values, muster.day_of(e.occurred_at, v_state.time_zone) AS day,
               count(*) AS events, min(e.occurred_at) AS first_at, max(e.occurred_at) AS last_at
          FROM gone e
         WHERE e.xid < coalesce(v_state.watermark, v_state.rebuild_to)
           AND e.occurred_at < coalesce(v_state.rebuilt_before, 'infinity')
         GROUP BY 1, 2, 3, 4, 5, 6
    )
    SELECT (SELECT count(*) FROM gone), (SELECT array_agg(ROW(g.*)::muster.rollup_group) FROM grouped g) INTO v_deleted, v_removed;
    PERFORM muster.unfold_groups(v_state, v_removed);
    UPDATE muster.analytics_sessions s
       SET events_count = (SELECT count(*) FROM muster.analytics_events e WHERE e.project_id = s.project_id AND e.session_id = s.id)
     WHERE s.project_id = p_project_id AND s.id = ANY (p_session_ids);
    RETURN v_deleted;
END
$$;

-- Makes a session's events of nobody its user's: they leave the rollups, and come back as if they were new. Who calls it holds the
-- project's rollup_state, where there is one.
CREATE FUNCTION muster.claim_events(p_project_id uuid, p_session_id uuid, p_user_id text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_state muster.rollup_state;
    v_removed muster.rollup_group[];
BEGIN
    SELECT * INTO v_state FROM muster.rollup_state WHERE project_id = p_project_id;
    WITH claimed AS MATERIALIZED (
        SELECT e.* FROM muster.analytics_events e
         WHERE e.project_id = p_project_id AND e.session_id = p_session_id AND e.user_id IS NULL
    ), updated AS (
        UPDATE muster.analytics_events e SET user_id = p_user_id, xid = pg_current_xact_id()::text::bigint
          FROM claimed c
         WHERE e.project_id = p_project_id AND e.session_id = p_session_id AND e.id = c.id AND e.occurred_at = c.occurred_at
    ), grouped AS (
        SELECT e.session_id, e.user_id, e.event_type, e.area,
               ARRAY(SELECT e.data ->> k FROM unnest(v_state.keys) k) AS key_values, muster.day_of(e.occurred_at, v_state.time_zone) AS day,
               count(*) AS events, min(e.occurred_at) AS first_at, max(e.occurred_at) AS last_at
          FROM claimed e
         WHERE e.xid < coalesce(v_state.watermark, v_state.rebuild_to)
           AND e.occurred_at < coalesce(v_state.rebuilt_before, 'infinity')
         GROUP BY 1, 2, 3, 4, 5, 6
    )
    SELECT array_agg(ROW(g.*)::muster.rollup_group) INTO v_removed FROM grouped g;
    PERFORM muster.unfold_groups(v_state, v_removed);
END
$$;

-- Now where nobody folds, else when that is done: ingest waits for no reader.
CREATE FUNCTION muster.claim_session(p_project_id uuid, p_session_id uuid, p_user_id text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM muster.rollup_state WHERE project_id = p_project_id FOR UPDATE SKIP LOCKED;
    IF FOUND OR NOT EXISTS (SELECT FROM muster.rollup_state WHERE project_id = p_project_id) THEN
        PERFORM muster.claim_events(p_project_id, p_session_id, p_user_id);
    ELSE
        INSERT INTO muster.pending_identities VALUES (p_project_id, p_session_id, p_user_id) ON CONFLICT DO NOTHING;
    END IF;
END
$$;

-- What had to wait for who folds; answers how many sessions, 0 while another is at it.
CREATE FUNCTION muster.settle_identities(p_project_id uuid) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_pending muster.pending_identities;
    v_settled integer := 0;
BEGIN
    PERFORM FROM muster.rollup_state WHERE project_id = p_project_id FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    FOR v_pending IN DELETE FROM muster.pending_identities WHERE project_id = p_project_id RETURNING * LOOP
        PERFORM muster.claim_events(p_project_id, v_pending.session_id, v_pending.user_id);
        v_settled := v_settled + 1;
    END LOOP;
    RETURN v_settled;
END
$$;
GRANT EXECUTE ON FUNCTION muster.settle_identities TO muster_reader, muster_admin;
