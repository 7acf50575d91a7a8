SELECT r.reason, sum(r.events)::bigint AS events, sum(r.attempts)::bigint AS attempts,
       min(r.received_at) AS first_received_at, max(r.last_received_at) AS last_received_at
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
 GROUP BY r.reason ORDER BY events DESC, r.reason
