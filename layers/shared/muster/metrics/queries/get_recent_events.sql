SELECT e.id, e.session_id, e.user_id, e.event_type, e.area, e.occurred_at AS timestamp, e.received_at, e.data
  FROM muster.matching_events(%(project_id)s, %(start)s, %(end)s, %(filter)s) e
 -- The second comparison is the exact one. The first lets PostgreSQL skip partitions and index ranges.
 WHERE (%(after_time)s::timestamptz IS NULL OR e.occurred_at <= %(after_time)s::timestamptz)
   AND (%(after_time)s::timestamptz IS NULL OR (e.occurred_at, e.session_id, e.id)
        < (%(after_time)s::timestamptz, %(after_session)s::uuid, %(after_id)s::uuid))
 ORDER BY e.occurred_at DESC, e.session_id DESC, e.id DESC LIMIT %(limit)s
