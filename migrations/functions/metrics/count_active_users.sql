-- The number of users with a matching event in the last 30 minutes. It includes events up to 24 hours ahead, which ingest accepts,
-- because a client's clock may be wrong.
CREATE OR REPLACE FUNCTION muster.count_active_users(p_project_id uuid, p_filter jsonb) RETURNS bigint
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    IF p_filter ? 'participantType' THEN
        RETURN (SELECT count(DISTINCT e.user_id) FROM muster.participant_events(
            p_project_id, 9223372036854775807, now() - interval '30 minutes' + interval '1 microsecond',
            now() + interval '24 hours' + interval '1 microsecond', p_filter) e);
    END IF;
    RETURN (SELECT count(DISTINCT e.user_id)
      FROM muster.analytics_events e
     WHERE e.project_id = p_project_id
       AND e.occurred_at > now() - interval '30 minutes' AND e.occurred_at <= now() + interval '24 hours'
       AND muster.matches_filter(p_filter, e.event_type, e.area, e.user_id, NULL, e.data));
END
$$;

GRANT EXECUTE ON FUNCTION muster.count_active_users TO muster_reader, muster_admin;
