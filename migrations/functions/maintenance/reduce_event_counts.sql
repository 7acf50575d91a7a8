-- Subtracts deleted events from the event counters of sessions. The sessions are locked, so no concurrent update by ingest is lost.
CREATE OR REPLACE FUNCTION muster.reduce_event_counts(p_project_id uuid, p_session_ids uuid[], p_counts bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM muster.analytics_sessions WHERE project_id = p_project_id AND id = ANY (p_session_ids) ORDER BY id FOR UPDATE;
    UPDATE muster.analytics_sessions s SET events_count = s.events_count - t.number FROM unnest(p_session_ids, p_counts) t(id, number)
     WHERE s.project_id = p_project_id AND s.id = t.id;
END
$$;
