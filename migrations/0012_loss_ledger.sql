-- What was lost on the way, and whether the books are balanced.

-- The sessions of a day, for the losses in it. It costs a session's first batch alone: what it holds never changes.
CREATE INDEX analytics_sessions_created ON muster.analytics_sessions (project_id, created_at);

-- The batches that a session's sequence numbers say were sent, and that have not arrived.
CREATE FUNCTION muster.gaps_in(p_batches int4multirange) RETURNS int4multirange
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN isempty(p_batches) THEN p_batches
                ELSE int4multirange(int4range(1, upper(p_batches))) - p_batches END
$$;

CREATE FUNCTION muster.size_of(p_batches int4multirange) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(sum(upper(r)::bigint - lower(r)), 0)::bigint FROM unnest(p_batches) AS r
$$;

CREATE TABLE muster.reconciliations (
    project_id uuid PRIMARY KEY REFERENCES muster.projects,
    watermark bigint NOT NULL, -- the sessions of every earlier transaction were looked at
    checked_at timestamptz NOT NULL DEFAULT now(),
    sessions bigint NOT NULL, -- looked at the last time
    differing bigint NOT NULL, -- of those, the ones whose counter is not the number of their events
    events_apart bigint NOT NULL, -- the sum of those differences
    examples uuid[] NOT NULL DEFAULT '{}'
);

-- Counts the events of the sessions that were touched since the last time, at most p_most of a project, against what the
-- sessions say, in one snapshot. Sessions that differed the last time are looked at again.
CREATE FUNCTION muster.reconcile_sessions(p_most integer) RETURNS SETOF muster.reconciliations
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_horizon bigint := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
BEGIN
    RETURN QUERY
    WITH since AS (
        SELECT p.id, CASE WHEN r.watermark <= v_horizon THEN r.watermark ELSE 0 END AS watermark, coalesce(r.examples, '{}') AS examples
          FROM muster.projects p LEFT JOIN muster.reconciliations r ON r.project_id = p.id
    ), touched AS (
        SELECT s.id AS project_id, t.session_id FROM since s, LATERAL (
            (SELECT DISTINCT e.session_id FROM muster.analytics_events e
              WHERE e.project_id = s.id AND e.xid >= coalesce(s.watermark, 0) LIMIT p_most)
            UNION SELECT unnest(s.examples)) t
    ), counted AS (
        SELECT t.project_id, t.session_id, coalesce(a.events_count, 0) AS counter,
               (SELECT count(*) FROM muster.analytics_events e
                 WHERE e.project_id = t.project_id AND e.session_id = t.session_id) AS stored
          FROM touched t LEFT JOIN muster.analytics_sessions a ON a.project_id = t.project_id AND a.id = t.session_id
    ), found AS (
        SELECT s.id, count(c.session_id) AS sessions, count(*) FILTER (WHERE c.counter <> c.stored) AS differing,
               coalesce(sum(abs(c.counter - c.stored)), 0)::bigint AS apart,
               coalesce((array_agg(c.session_id) FILTER (WHERE c.counter <> c.stored))[1:20], '{}') AS examples
          FROM since s LEFT JOIN counted c ON c.project_id = s.id GROUP BY s.id
    )
    INSERT INTO muster.reconciliations AS r (project_id, watermark, sessions, differing, events_apart, examples)
    SELECT f.id, v_horizon, f.sessions, f.differing, f.apart, f.examples FROM found f ORDER BY f.id
    ON CONFLICT (project_id) DO UPDATE SET watermark = excluded.watermark, checked_at = now(), sessions = excluded.sessions,
           differing = excluded.differing, events_apart = excluded.events_apart, examples = excluded.examples
    RETURNING r.*;
END
$$;

GRANT SELECT ON muster.reconciliations TO muster_reader, muster_admin;
GRANT EXECUTE ON FUNCTION muster.gaps_in, muster.size_of TO muster_reader, muster_admin;
GRANT EXECUTE ON FUNCTION muster.reconcile_sessions TO muster_admin;

-- The canary says what stood in its way, so that a remedy can be named.
CREATE OR REPLACE FUNCTION muster.write_canary(p_project_id uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_session uuid := gen_random_uuid();
    v_batch uuid := gen_random_uuid();
    v_answer jsonb;
    v_table text;
    v_constraint text;
BEGIN
    BEGIN
        v_answer := muster.store_batch(p_project_id, 'write',
            jsonb_build_object('requestId', 'canary', 'batchId', v_batch, 'sessionId', v_session, 'count', 1,
                               'bots', '[]'::jsonb, 'contexts', '{}'::jsonb, 'rejections', '[]'::jsonb),
            json_build_object('events', json_build_array(json_build_object(
                'id', gen_random_uuid(), 'eventType', 'muster_canary', 'timestamp', now())))::text);
        RAISE EXCEPTION USING ERRCODE = 'MU000', MESSAGE = 'taken back';
    EXCEPTION
        WHEN SQLSTATE 'MU000' THEN
            RETURN jsonb_build_object('ok', true, 'answer', v_answer);
        WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS v_table = TABLE_NAME, v_constraint = CONSTRAINT_NAME;
            RETURN jsonb_build_object('ok', false, 'sqlstate', SQLSTATE, 'table', v_table, 'constraint', v_constraint);
    END;
END
$$;
