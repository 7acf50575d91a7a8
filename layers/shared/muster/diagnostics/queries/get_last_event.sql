-- When the event with the latest timestamp was received, and whether that was in the last 24 hours. No row without events.
WITH latest AS (
    SELECT greatest(s.last_at, (SELECT max(e.occurred_at) FROM muster.analytics_events e
                                 WHERE e.project_id = %(project_id)s AND e.xid >= coalesce(muster.rollup_watermark(p.id), 0))) AS occurred_at
      FROM (SELECT %(project_id)s::uuid AS id) p LEFT JOIN muster.rollup_state s ON s.project_id = p.id
)
SELECT max(e.received_at), max(e.received_at) > now() - interval '1 day'
  FROM latest l JOIN muster.analytics_events e ON e.project_id = %(project_id)s AND e.occurred_at = l.occurred_at
HAVING count(*) > 0
