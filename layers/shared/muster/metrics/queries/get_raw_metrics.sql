-- The overview from the events alone. It is used while the roll-ups are rebuilt, and to check them. Returns one row. The CTEs:
--
--   participant      the participant type of each session, if the filters or the breakdown need it
--   matching         the matching events of the range (is_current) and of the previous range
--   whole            the number of matching events outside the range
--   active           the number of users with a matching event in the last 30 minutes
--   first_seen       the time of the first event of each user of matching
--   new_users        the number of users whose first event is in each range
--   session          the sessions of each range, with their events and length
--   session_totals, user_totals, totals   the totals of each range
--   series           the counts of each bucket that has events
--   breakdown        the values of the breakdown with the most events
WITH participant AS MATERIALIZED (
    SELECT p.session_id, p.participant_type FROM muster.participant_sessions(%(project_id)s, NULL) p
     WHERE %(filter)s::jsonb ? 'participantType' OR %(breakdown)s::text = 'participantType'
), matching AS MATERIALIZED (
    SELECT e.occurred_at >= %(start)s AS is_current, e.occurred_at, e.session_id, e.user_id,
           muster.breakdown_value(%(breakdown)s, e.event_type, e.area, e.user_id, p.participant_type, e.data) AS value
      FROM muster.analytics_events e LEFT JOIN participant p ON p.session_id = e.session_id
     WHERE e.project_id = %(project_id)s AND e.occurred_at >= %(before)s AND e.occurred_at < %(end)s
       AND muster.matches_filter(%(filter)s::jsonb, e.event_type, e.area, e.user_id, p.participant_type, e.data)
), whole AS (
    SELECT count(*) AS rows
      FROM muster.analytics_events e LEFT JOIN participant p ON p.session_id = e.session_id
     WHERE e.project_id = %(project_id)s AND (e.occurred_at < %(start)s OR e.occurred_at >= %(end)s)
       AND muster.matches_filter(%(filter)s::jsonb, e.event_type, e.area, e.user_id, p.participant_type, e.data)
), active AS (
    SELECT count(DISTINCT e.user_id) AS users
      FROM muster.analytics_events e LEFT JOIN participant p ON p.session_id = e.session_id
     -- A client's clock may be ahead by as much as ingest accepts.
     WHERE e.project_id = %(project_id)s
       AND e.occurred_at > now() - interval '30 minutes' AND e.occurred_at <= now() + interval '24 hours'
       AND muster.matches_filter(%(filter)s::jsonb, e.event_type, e.area, e.user_id, p.participant_type, e.data)
), first_seen AS (
    SELECT e.user_id, min(e.occurred_at) AS first
      FROM muster.analytics_events e
     WHERE e.project_id = %(project_id)s AND e.occurred_at < %(end)s
       AND e.user_id IN (SELECT m.user_id FROM matching m WHERE m.user_id IS NOT NULL)
     GROUP BY e.user_id
), new_users AS (
    SELECT p.is_current, count(*) AS users
      FROM (SELECT DISTINCT m.is_current, m.user_id FROM matching m WHERE m.user_id IS NOT NULL) p
      JOIN first_seen s USING (user_id)
     WHERE s.first >= CASE WHEN p.is_current THEN %(start)s::timestamptz ELSE %(before)s::timestamptz END
     GROUP BY p.is_current
), session AS (
    SELECT m.is_current, m.session_id, count(*) AS events,
           (extract(epoch FROM max(m.occurred_at) - min(m.occurred_at)) * 1000000)::bigint AS micros
      FROM matching m GROUP BY m.is_current, m.session_id
), session_totals AS (
    SELECT s.is_current, count(*) AS sessions, sum(s.events) AS events, sum(s.micros) / 1e6 / count(*) AS seconds,
           (count(*) FILTER (WHERE s.events = 1))::double precision / count(*) AS bounce_rate
      FROM session s GROUP BY s.is_current
), user_totals AS (
    SELECT m.is_current, count(DISTINCT m.user_id) AS users FROM matching m GROUP BY m.is_current
), totals AS (
    SELECT t.is_current, json_build_object(
               'events', t.events, 'users', u.users, 'sessions', t.sessions, 'new_users', coalesce(n.users, 0),
               'average_session_seconds', t.seconds, 'bounce_rate', t.bounce_rate,
               'events_per_session', t.events::double precision / t.sessions) AS found
      FROM session_totals t JOIN user_totals u USING (is_current) LEFT JOIN new_users n USING (is_current)
), series AS (
    SELECT width_bucket(m.occurred_at, %(starts)s::timestamptz[]) AS bucket, count(*) AS events,
           count(DISTINCT m.user_id) AS users, count(DISTINCT m.session_id) AS sessions
      FROM matching m WHERE m.is_current GROUP BY 1
), breakdown AS (
    SELECT m.value, count(*) AS events, count(DISTINCT m.user_id) AS users, count(DISTINCT m.session_id) AS sessions
      FROM matching m WHERE m.is_current AND %(breakdown)s::text IS NOT NULL
     GROUP BY m.value ORDER BY 2 DESC, 1 LIMIT %(limit)s
)
SELECT now() AS as_of,
       (SELECT found FROM totals WHERE is_current) AS totals,
       (SELECT found FROM totals WHERE NOT is_current) AS previous,
       (SELECT coalesce(json_agg(s), '[]') FROM series s) AS series,
       (SELECT coalesce(json_agg(b ORDER BY b.events DESC, b.value), '[]') FROM breakdown b) AS breakdown,
       (SELECT users FROM active) AS active_users_now,
       (SELECT rows FROM whole) AS rows_outside_range, true AS rows_outside_range_is_exact,
       (SELECT coalesce(sum(r.events), 0)::bigint FROM muster.analytics_rejections r
         WHERE r.replayed_at IS NULL AND r.project_id = %(project_id)s AND coalesce(r.occurred_at, r.received_at) >= %(start)s
           AND coalesce(r.occurred_at, r.received_at) < %(end)s) AS rejected_in_range,
       (SELECT count(*) FROM muster.analytics_ignored i
         WHERE i.project_id = %(project_id)s AND i.occurred_at >= %(start)s AND i.occurred_at < %(end)s) AS ignored_in_range,
       (SELECT max(e.occurred_at) FROM muster.analytics_events e WHERE e.project_id = %(project_id)s) AS last_event_at
