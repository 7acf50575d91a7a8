-- The rolled-up events of participants from p_from to p_to (exclusive) that match the filter. The cost grows with the events of the
-- participants' sessions.
CREATE OR REPLACE FUNCTION muster.participant_events(p_project_id uuid, p_watermark bigint, p_from timestamptz, p_to timestamptz,
    p_filter jsonb)
RETURNS TABLE (participant_type text, occurred_at timestamptz, session_id uuid, user_id text, event_type text, area text, data jsonb)
LANGUAGE plpgsql STABLE SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY SELECT p.participant_type, e.occurred_at, e.session_id, e.user_id, e.event_type, e.area, e.data
      FROM muster.participant_sessions(p_project_id, p_filter -> 'participantType') p
     CROSS JOIN LATERAL (
           SELECT * FROM muster.analytics_events x
            WHERE x.project_id = p_project_id AND x.session_id = p.session_id AND x.xid < p_watermark
              AND x.occurred_at >= p_from AND x.occurred_at < p_to AND x.occurred_at BETWEEN p.first_at AND p.last_at OFFSET 0) e
     WHERE p.first_at < p_to AND p.last_at >= p_from
       AND muster.matches_filter(p_filter, e.event_type, e.area, e.user_id, p.participant_type, e.data);
END
$$;

GRANT EXECUTE ON FUNCTION muster.participant_events TO muster_reader, muster_admin;
