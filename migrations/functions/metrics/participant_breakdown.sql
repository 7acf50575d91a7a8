-- The counts of a range by participant type. p_events, p_users and p_sessions are the range's totals. The counts without a type are
-- the totals minus those of participants. The CTEs:
--
--   participant      the sessions with a participant type
--   unrolled         the unrolled events of the range
--   of_participant   all events of participants in the range
--   typed            the counts of each participant type
--   only_typed       the number of users whose events in the range are all in sessions with a type
CREATE OR REPLACE FUNCTION muster.participant_breakdown(p_project_id uuid, p_watermark bigint, p_from timestamptz, p_to timestamptz,
    p_events bigint, p_users bigint, p_sessions bigint, p_limit integer)
RETURNS TABLE (value text, events bigint, users bigint, sessions bigint)
LANGUAGE plpgsql STABLE SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY WITH participant AS MATERIALIZED (
        SELECT p.session_id, p.participant_type FROM muster.participant_sessions(p_project_id, NULL) p
    ), unrolled AS MATERIALIZED (
        SELECT e.session_id, e.user_id, p.participant_type
          FROM muster.unrolled_events(p_project_id, p_watermark) e LEFT JOIN participant p ON p.session_id = e.session_id
         WHERE e.occurred_at >= p_from AND e.occurred_at < p_to
    ), of_participant AS MATERIALIZED (
        SELECT e.participant_type, e.session_id, e.user_id
          FROM muster.participant_events(p_project_id, p_watermark, p_from, p_to, '{}') e
        UNION ALL
        SELECT t.participant_type, t.session_id, t.user_id FROM unrolled t WHERE t.participant_type IS NOT NULL
    ), typed AS (
        SELECT t.participant_type, count(*) AS events, count(DISTINCT t.user_id) AS users, count(DISTINCT t.session_id) AS sessions
          FROM of_participant t GROUP BY t.participant_type
    ), only_typed AS (
        -- Other users also count as users of sessions without a type.
        SELECT count(*) AS users FROM (SELECT DISTINCT t.user_id FROM of_participant t WHERE t.user_id IS NOT NULL) u
         WHERE NOT EXISTS (SELECT FROM unrolled t WHERE t.user_id = u.user_id AND t.participant_type IS NULL)
           AND NOT EXISTS (
               SELECT FROM muster.rollup_user_sessions s
                CROSS JOIN LATERAL (
                      -- With a day more at both ends, because the days are those of the project's time zone.
                      SELECT FROM muster.analytics_events x
                       WHERE x.project_id = p_project_id AND x.session_id = s.session_id AND x.user_id = u.user_id AND x.xid < p_watermark
                         AND x.occurred_at >= greatest(p_from, muster.day_start(s.first_day - 1, 'UTC'))
                         AND x.occurred_at < least(p_to, muster.day_start(s.last_day + 2, 'UTC')) LIMIT 1) e
                WHERE s.project_id = p_project_id AND s.user_id = u.user_id
                  AND muster.day_start(s.first_day - 1, 'UTC') < p_to AND muster.day_start(s.last_day + 2, 'UTC') > p_from
                  -- NOT EXISTS would scan participant for each session.
                  AND s.session_id NOT IN (SELECT p.session_id FROM participant p))
    )
    SELECT b.* FROM (
        SELECT * FROM typed
        UNION ALL
        SELECT NULL, p_events - t.events, p_users - o.users, p_sessions - t.sessions
          FROM (SELECT coalesce(sum(t.events), 0)::bigint AS events, coalesce(sum(t.sessions), 0)::bigint AS sessions FROM typed t) t, only_typed o
         WHERE p_events > t.events) b
     ORDER BY b.events DESC, b.participant_type LIMIT p_limit;
END
$$;

GRANT EXECUTE ON FUNCTION muster.participant_breakdown TO muster_reader, muster_admin;
