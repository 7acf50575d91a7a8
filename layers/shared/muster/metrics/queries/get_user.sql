-- A user's summary and latest events. Rolled-up events are found by the user's sessions, the others by their transaction id.
WITH mine AS MATERIALIZED (
    SELECT e.* FROM muster.rollup_user_sessions s
      JOIN LATERAL (SELECT e.* FROM muster.analytics_events e
                     WHERE e.project_id = s.project_id AND e.session_id = s.session_id AND e.xid < %(watermark)s
                       AND e.user_id = s.user_id OFFSET 0) e ON true
     WHERE s.project_id = %(project_id)s AND s.user_id = %(user_id)s
    UNION ALL
    SELECT e.* FROM muster.analytics_events e
     WHERE e.project_id = %(project_id)s AND e.xid >= %(watermark)s AND e.user_id = %(user_id)s
)
SELECT count(*) AS events, count(DISTINCT session_id) AS sessions, min(occurred_at) AS first_seen_at, max(occurred_at) AS last_seen_at,
       (SELECT coalesce(json_agg(t ORDER BY t.events DESC, t.value), '[]') FROM (
           SELECT event_type AS value, count(*) AS events, count(DISTINCT session_id) AS sessions FROM mine GROUP BY event_type) t) AS event_types,
       (SELECT coalesce(json_agg(r ORDER BY r.timestamp DESC, r."sessionId" DESC, r.id DESC), '[]') FROM (
           SELECT id, session_id AS "sessionId", user_id AS "userId", event_type AS "eventType", area, occurred_at AS timestamp,
                  received_at AS "receivedAt", data
             FROM mine ORDER BY occurred_at DESC, session_id DESC, id DESC LIMIT %(limit)s) r) AS recent
  FROM mine
