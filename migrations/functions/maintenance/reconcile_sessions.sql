-- Compares the event counters of sessions with the number of their stored events, in one snapshot. It checks the sessions with new
-- events since the last time, at most p_most of each project, and the sessions that differed then. The CTEs:
--
--   since     each project's watermark and differing sessions of the last time
--   touched   the sessions to check
--   counted   each session's counter and its number of stored events
--   found     the result of each project
CREATE OR REPLACE FUNCTION muster.reconcile_sessions(p_most integer) RETURNS SETOF muster.reconciliations
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

GRANT EXECUTE ON FUNCTION muster.reconcile_sessions TO muster_admin;
