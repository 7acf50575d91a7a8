-- Without the session, bloom filters find the blocks that can hold the id. With it, the primary key finds the row.
SELECT e.session_id, e.occurred_at, e.received_at, e.batch_id
  FROM muster.analytics_events e
 WHERE e.project_id = %(project_id)s AND e.id = %(event_id)s
   AND (%(session_id)s::uuid IS NULL OR e.session_id = %(session_id)s::uuid)
 ORDER BY e.received_at LIMIT 10
