-- When the latest event, by its own time, was received: an import of history is recent too.
SELECT received_at, received_at > now() - interval '1 day'
  FROM muster.analytics_events WHERE project_id = %(project_id)s ORDER BY occurred_at DESC LIMIT 1
