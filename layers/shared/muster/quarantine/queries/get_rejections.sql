SELECT r.id, r.reason, r.details, r.payload, r.payload_bytes, r.event_id, r.session_id, r.user_id, r.batch_id, r.request_id,
       r.event_index AS index, r.occurred_at, r.received_at, r.last_received_at, r.attempts, r.events, r.replayed_at
  FROM muster.analytics_rejections r
 WHERE r.project_id = %(project_id)s
   AND (%(reason)s::text IS NULL OR r.reason = %(reason)s::text)
   AND (%(session_id)s::text IS NULL OR r.session_id = %(session_id)s::text)
   AND (%(user_id)s::text IS NULL OR r.user_id = %(user_id)s::text)
   AND (%(event_id)s::text IS NULL OR r.event_id = %(event_id)s::text)
   AND (%(batch_id)s::uuid IS NULL OR r.batch_id = %(batch_id)s::uuid)
   AND (%(request_id)s::text IS NULL OR r.request_id = %(request_id)s::text)
   AND (%(start)s::timestamptz IS NULL OR r.received_at >= %(start)s::timestamptz)
   AND (%(end)s::timestamptz IS NULL OR r.received_at < %(end)s::timestamptz)
   AND (%(state)s::text = 'all' OR (r.replayed_at IS NULL) = (%(state)s::text = 'pending'))
   AND (%(cursor)s::bigint IS NULL OR r.id < %(cursor)s::bigint)
 ORDER BY r.id DESC LIMIT %(limit)s
