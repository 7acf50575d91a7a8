-- What a statement of metrics looks up of the events themselves. As functions, since few answers need them, and every answer would
-- pay for planning them, once for each partition; being stable, they see what the statement sees.

-- The events that are not folded yet. The plan is the one for few: what else the planner would choose for it, without knowing how
-- many they are, reads all.
CREATE FUNCTION muster.tail_events(p_project_id uuid, p_watermark bigint)
RETURNS TABLE (occurred_at timestamptz, session_id uuid, user_id text, event_type text, area text, data jsonb)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY SELECT e.occurred_at, e.session_id, e.user_id, e.event_type, e.area, e.data
      FROM muster.analytics_events e WHERE e.project_id = p_project_id AND e.xid >= p_watermark;
END
$$;

-- The users of whom an event that passes the filters is of the last 30 minutes; a client's clock may be ahead of ours, by as much
-- as ingest lets pass.
CREATE FUNCTION muster.count_active_users(p_project_id uuid, p_user_ids text[], p_event_types text[], p_areas text[], p_data jsonb)
RETURNS bigint
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    RETURN (SELECT count(DISTINCT e.user_id)
      FROM muster.analytics_events e
     WHERE e.project_id = p_project_id
       AND e.occurred_at > now() - interval '30 minutes' AND e.occurred_at <= now() + interval '24 hours'
       AND (p_user_ids IS NULL OR e.user_id = ANY (p_user_ids)) AND (p_event_types IS NULL OR e.event_type = ANY (p_event_types))
       AND (p_areas IS NULL OR e.area = ANY (p_areas))
       AND (p_data = '[]' OR (SELECT bool_and(coalesce(e.data ->> f.key = ANY (f.wanted), false))
              FROM jsonb_to_recordset(p_data) AS f(key text, wanted text[]))));
END
$$;

-- The folded events of a time that pass the filters; of users, by their sessions.
CREATE FUNCTION muster.folded_events(p_project_id uuid, p_watermark bigint, p_from timestamptz, p_to timestamptz,
    p_user_ids text[], p_event_types text[], p_areas text[], p_data jsonb)
RETURNS TABLE (occurred_at timestamptz, session_id uuid, user_id text, event_type text, area text, data jsonb)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY EXECUTE format('SELECT e.occurred_at, e.session_id, e.user_id, e.event_type, e.area, e.data FROM %s
         WHERE e.project_id = $1 AND e.xid < $2 AND e.occurred_at >= $3 AND e.occurred_at < $4
           AND ($5 IS NULL OR e.user_id = ANY ($5)) AND ($6 IS NULL OR e.event_type = ANY ($6)) AND ($7 IS NULL OR e.area = ANY ($7))
           AND ($8 = ''[]'' OR (SELECT bool_and(coalesce(e.data ->> f.key = ANY (f.wanted), false))
                  FROM jsonb_to_recordset($8) AS f(key text, wanted text[])))',
        CASE WHEN p_user_ids IS NULL THEN 'muster.analytics_events e' ELSE
            '(SELECT DISTINCT u.session_id FROM muster.rollup_user_sessions u WHERE u.project_id = $1 AND u.user_id = ANY ($5)) u
             CROSS JOIN LATERAL (SELECT * FROM muster.analytics_events x
                                  WHERE x.project_id = $1 AND x.session_id = u.session_id OFFSET 0) e' END)
        USING p_project_id, p_watermark, p_from, p_to, p_user_ids, p_event_types, p_areas, p_data;
END
$$;

-- How many they are at all times.
CREATE FUNCTION muster.count_folded(p_project_id uuid, p_watermark bigint, p_user_ids text[], p_event_types text[], p_areas text[],
    p_data jsonb) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_count bigint;
BEGIN
    IF p_user_ids IS NOT NULL THEN
        RETURN (SELECT count(*) FROM muster.folded_events(p_project_id, p_watermark, '-infinity', 'infinity', p_user_ids, p_event_types,
                                                          p_areas, p_data));
    END IF;
    EXECUTE 'SELECT count(*) FROM muster.analytics_events e WHERE e.project_id = $1 AND e.xid < $2
           AND ($3 IS NULL OR e.event_type = ANY ($3)) AND ($4 IS NULL OR e.area = ANY ($4))
           AND ($5 = ''[]'' OR (SELECT bool_and(coalesce(e.data ->> f.key = ANY (f.wanted), false))
                  FROM jsonb_to_recordset($5) AS f(key text, wanted text[])))'
        INTO v_count USING p_project_id, p_watermark, p_event_types, p_areas, p_data;
    RETURN v_count;
END
$$;

-- What is folded of one session: its events that pass the filters, ever and in a time.
CREATE FUNCTION muster.folded_session(p_project_id uuid, p_watermark bigint, p_session_id uuid, p_from timestamptz, p_to timestamptz,
    p_event_types text[], p_areas text[], p_data jsonb,
    OUT events_ever bigint, OUT events bigint, OUT first_at timestamptz, OUT last_at timestamptz)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_started timestamptz := '-infinity';
    v_seen timestamptz := 'infinity';
BEGIN
    -- All of a session's events lie between these, and so in few partitions.
    SELECT a.started_at, a.last_seen_at INTO v_started, v_seen
      FROM muster.analytics_sessions a WHERE a.project_id = p_project_id AND a.id = p_session_id;
    SELECT count(*), count(*) FILTER (WHERE e.occurred_at >= p_from AND e.occurred_at < p_to),
           min(e.occurred_at) FILTER (WHERE e.occurred_at >= p_from AND e.occurred_at < p_to),
           max(e.occurred_at) FILTER (WHERE e.occurred_at >= p_from AND e.occurred_at < p_to)
      INTO events_ever, events, first_at, last_at
      FROM muster.analytics_events e
     WHERE e.project_id = p_project_id AND e.session_id = p_session_id
       AND e.occurred_at BETWEEN coalesce(v_started, '-infinity') AND coalesce(v_seen, 'infinity') AND e.xid < p_watermark
       AND (p_event_types IS NULL OR e.event_type = ANY (p_event_types)) AND (p_areas IS NULL OR e.area = ANY (p_areas))
       AND (p_data = '[]' OR (SELECT bool_and(coalesce(e.data ->> f.key = ANY (f.wanted), false))
              FROM jsonb_to_recordset(p_data) AS f(key text, wanted text[])));
END
$$;

-- Whether a folded event of a session and a time is of a user (p_dimension is userId), or has that value of a dimension.
CREATE FUNCTION muster.has_folded(p_project_id uuid, p_watermark bigint, p_session_id uuid, p_from timestamptz, p_to timestamptz,
    p_dimension text, p_key text, p_value text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM muster.analytics_events e
         WHERE e.project_id = p_project_id AND e.session_id = p_session_id AND e.xid < p_watermark
           AND e.occurred_at >= p_from AND e.occurred_at < p_to
           AND CASE p_dimension WHEN 'eventType' THEN e.event_type WHEN 'area' THEN e.area WHEN 'userId' THEN e.user_id
                    WHEN 'data' THEN e.data ->> p_key END IS NOT DISTINCT FROM p_value);
END
$$;

GRANT EXECUTE ON FUNCTION muster.tail_events, muster.count_active_users, muster.folded_events, muster.count_folded,
      muster.folded_session, muster.has_folded TO muster_reader, muster_admin;
