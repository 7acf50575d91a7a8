-- A session's rolled-up events that match the filter: their number at any time, and their number, first and last time from p_from
-- to p_to (exclusive).
CREATE OR REPLACE FUNCTION muster.rolled_up_session(p_project_id uuid, p_watermark bigint, p_session_id uuid, p_from timestamptz,
    p_to timestamptz, p_filter jsonb, OUT events_ever bigint, OUT events bigint, OUT first_at timestamptz, OUT last_at timestamptz)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_started timestamptz := '-infinity';
    v_seen timestamptz := 'infinity';
BEGIN
    -- A session's events lie between these times, so few partitions are read.
    SELECT a.started_at, a.last_seen_at INTO v_started, v_seen
      FROM muster.analytics_sessions a WHERE a.project_id = p_project_id AND a.id = p_session_id;
    SELECT count(*), count(*) FILTER (WHERE e.occurred_at >= p_from AND e.occurred_at < p_to),
           min(e.occurred_at) FILTER (WHERE e.occurred_at >= p_from AND e.occurred_at < p_to),
           max(e.occurred_at) FILTER (WHERE e.occurred_at >= p_from AND e.occurred_at < p_to)
      INTO events_ever, events, first_at, last_at
      FROM muster.analytics_events e
     WHERE e.project_id = p_project_id AND e.session_id = p_session_id
       AND e.occurred_at BETWEEN coalesce(v_started, '-infinity') AND coalesce(v_seen, 'infinity') AND e.xid < p_watermark
       AND muster.matches_filter(p_filter, e.event_type, e.area, e.user_id, NULL, e.data);
END
$$;

GRANT EXECUTE ON FUNCTION muster.rolled_up_session TO muster_reader, muster_admin;
