-- The next pending rejections to replay, oldest first. Rows that count a flood together (events > 1) have no payload of their own.
SELECT r.id, r.payload, r.payload_bytes, r.session_id, r.user_id, r.batch_id, r.event_index AS index
  FROM muster.analytics_rejections r
 WHERE r.project_id = %(project_id)s AND r.replayed_at IS NULL AND r.events = 1 AND r.id > %(cursor)s
   AND (%(ids)s::bigint[] IS NULL OR r.id = ANY (%(ids)s::bigint[]))
   AND (%(reason)s::text IS NULL OR r.reason = %(reason)s::text)
   AND (%(session_id)s::text IS NULL OR r.session_id = %(session_id)s::text)
   AND (%(event_id)s::text IS NULL OR r.event_id = %(event_id)s::text)
   AND (%(batch_id)s::uuid IS NULL OR r.batch_id = %(batch_id)s::uuid)
 ORDER BY r.id LIMIT %(limit)s
