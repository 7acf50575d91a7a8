-- Metrics by participant type. It is no dimension of the rollups, since a redemption changes the type of what happened long before
-- it: the sessions that have one are looked up as of now, and what is of no type is all less theirs.

-- The sessions that have a participant type, of these or any, each with its latest redemption's, its own or its user's. All of a
-- session's events lie between its times.
CREATE FUNCTION muster.participant_sessions(p_project_id uuid, p_types text[])
RETURNS TABLE (session_id uuid, participant_type text, first_at timestamptz, last_at timestamptz)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY SELECT p.session_id, p.participant_type, p.first_at, p.last_at
      FROM (SELECT DISTINCT ON (r.session_id) r.session_id, r.participant_type, r.first_at, r.last_at
              FROM (SELECT r.session_id, r.participant_type, r.redeemed_at, r.id, coalesce(s.started_at, '-infinity') AS first_at,
                           coalesce(s.last_seen_at, 'infinity') AS last_at
                      FROM muster.pilot_redemptions r
                      LEFT JOIN muster.analytics_sessions s ON s.project_id = p_project_id AND s.id = r.session_id
                     WHERE r.project_id = p_project_id AND r.session_id IS NOT NULL
                    UNION ALL
                    SELECT s.id, r.participant_type, r.redeemed_at, r.id, s.started_at, s.last_seen_at
                      FROM muster.pilot_redemptions r
                      JOIN muster.analytics_sessions s ON s.project_id = p_project_id AND s.user_id = r.user_id
                     WHERE r.project_id = p_project_id AND r.user_id IS NOT NULL) r
             ORDER BY r.session_id, r.redeemed_at DESC, r.id DESC) p
     WHERE p_types IS NULL OR p.participant_type = ANY (p_types);
END
$$;

-- The folded events of a time in those sessions that pass the filters: at the cost of what these sessions hold.
CREATE FUNCTION muster.participant_events(p_project_id uuid, p_watermark bigint, p_from timestamptz, p_to timestamptz, p_types text[],
    p_user_ids text[], p_event_types text[], p_areas text[], p_data jsonb)
RETURNS TABLE (participant_type text, occurred_at timestamptz, session_id uuid, user_id text, event_type text, area text, data jsonb)
LANGUAGE plpgsql STABLE SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY SELECT p.participant_type, e.occurred_at, e.session_id, e.user_id, e.event_type, e.area, e.data
      FROM muster.participant_sessions(p_project_id, p_types) p
     CROSS JOIN LATERAL (
           SELECT * FROM muster.analytics_events x
            WHERE x.project_id = p_project_id AND x.session_id = p.session_id AND x.xid < p_watermark
              AND x.occurred_at >= p_from AND x.occurred_at < p_to AND x.occurred_at BETWEEN p.first_at AND p.last_at OFFSET 0) e
     WHERE p.first_at < p_to AND p.last_at >= p_from
       AND (p_user_ids IS NULL OR e.user_id = ANY (p_user_ids)) AND (p_event_types IS NULL OR e.event_type = ANY (p_event_types))
       AND (p_areas IS NULL OR e.area = ANY (p_areas))
       AND (p_data = '[]' OR (SELECT bool_and(coalesce(e.data ->> f.key = ANY (f.wanted), false))
              FROM jsonb_to_recordset(p_data) AS f(key text, wanted text[])));
END
$$;

-- How many they are, ever: as count_folded_lately, by month from the latest on, for a quarter of a second.
CREATE FUNCTION muster.count_participants_lately(p_project_id uuid, p_watermark bigint, p_types text[], p_user_ids text[],
    p_event_types text[], p_areas text[], p_data jsonb, OUT events bigint, OUT is_all boolean)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_until timestamptz := clock_timestamp() + interval '0.25 seconds';
    v_first timestamp; -- in UTC, as partitions are
    v_month timestamp;
BEGIN
    events := 0;
    SELECT date_trunc('month', s.first_at AT TIME ZONE 'UTC'), date_trunc('month', s.last_at AT TIME ZONE 'UTC') INTO v_first, v_month
      FROM muster.rollup_state s WHERE s.project_id = p_project_id;
    WHILE v_month >= v_first AND clock_timestamp() <= v_until LOOP
        events := events + (SELECT count(*) FROM muster.participant_events(
            p_project_id, p_watermark, v_month AT TIME ZONE 'UTC', (v_month + interval '1 month') AT TIME ZONE 'UTC', p_types, p_user_ids,
            p_event_types, p_areas, p_data));
        v_month := v_month - interval '1 month';
    END LOOP;
    is_all := v_month IS NULL OR v_month < v_first;
END
$$;

-- A range's events by participant type; p_events, p_users and p_sessions are what all of it holds, by the rollups.
CREATE FUNCTION muster.participant_breakdown(p_project_id uuid, p_watermark bigint, p_from timestamptz, p_to timestamptz,
    p_events bigint, p_users bigint, p_sessions bigint, p_limit integer)
RETURNS TABLE (value text, events bigint, users bigint, sessions bigint)
LANGUAGE plpgsql STABLE SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY WITH participant AS MATERIALIZED (
        SELECT p.session_id, p.participant_type FROM muster.participant_sessions(p_project_id, NULL) p
    ), tail AS MATERIALIZED (
        SELECT e.session_id, e.user_id, p.participant_type
          FROM muster.tail_events(p_project_id, p_watermark) e LEFT JOIN participant p ON p.session_id = e.session_id
         WHERE e.occurred_at >= p_from AND e.occurred_at < p_to
    ), theirs AS MATERIALIZED (
        SELECT e.participant_type, e.session_id, e.user_id
          FROM muster.participant_events(p_project_id, p_watermark, p_from, p_to, NULL, NULL, NULL, NULL, '[]') e
        UNION ALL
        SELECT t.participant_type, t.session_id, t.user_id FROM tail t WHERE t.participant_type IS NOT NULL
    ), typed AS (
        SELECT t.participant_type, count(*) AS events, count(DISTINCT t.user_id) AS users, count(DISTINCT t.session_id) AS sessions
          FROM theirs t GROUP BY t.participant_type
    ), only_there AS (
        -- Those who did nothing else in the range: the others are users of sessions without a type as well.
        SELECT count(*) AS users FROM (SELECT DISTINCT t.user_id FROM theirs t WHERE t.user_id IS NOT NULL) u
         WHERE NOT EXISTS (SELECT FROM tail t WHERE t.user_id = u.user_id AND t.participant_type IS NULL)
           AND NOT EXISTS (
               SELECT FROM muster.rollup_user_sessions s
                CROSS JOIN LATERAL (
                      -- A day more at both ends: days are those of the project's time zone.
                      SELECT FROM muster.analytics_events x
                       WHERE x.project_id = p_project_id AND x.session_id = s.session_id AND x.user_id = u.user_id AND x.xid < p_watermark
                         AND x.occurred_at >= greatest(p_from, muster.day_start(s.first_day - 1, 'UTC'))
                         AND x.occurred_at < least(p_to, muster.day_start(s.last_day + 2, 'UTC')) LIMIT 1) e
                WHERE s.project_id = p_project_id AND s.user_id = u.user_id
                  AND muster.day_start(s.first_day - 1, 'UTC') < p_to AND muster.day_start(s.last_day + 2, 'UTC') > p_from
                  -- Not by EXISTS, which would look through all of them for each.
                  AND s.session_id NOT IN (SELECT p.session_id FROM participant p))
    )
    SELECT b.* FROM (
        SELECT * FROM typed
        UNION ALL
        SELECT NULL, p_events - t.events, p_users - o.users, p_sessions - t.sessions
          FROM (SELECT coalesce(sum(t.events), 0)::bigint AS events, coalesce(sum(t.sessions), 0)::bigint AS sessions FROM typed t) t, only_there o
         WHERE p_events > t.events) b
     ORDER BY b.events DESC, b.participant_type LIMIT p_limit;
END
$$;

GRANT EXECUTE ON FUNCTION muster.participant_sessions, muster.participant_events, muster.count_participants_lately,
      muster.participant_breakdown TO muster_reader, muster_admin;
