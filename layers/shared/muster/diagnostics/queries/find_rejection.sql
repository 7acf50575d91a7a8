-- The latest rejection of an event: its own, or that of a whole request that contains its id (among the latest 1,000).
SELECT r.id, r.reason, r.details, r.session_id, r.batch_id, r.request_id, r.event_index AS index, r.received_at, r.replayed_at
  FROM muster.analytics_rejections r
 WHERE r.project_id = %(project_id)s AND r.event_id = %(event_text)s
UNION ALL
(SELECT r.id, r.reason, r.details, r.session_id, r.batch_id, r.request_id, r.event_index, r.received_at, r.replayed_at
   FROM (SELECT * FROM muster.analytics_rejections w
          WHERE w.project_id = %(project_id)s AND w.event_index IS NULL ORDER BY w.id DESC LIMIT 1000) r
  WHERE strpos(lower(r.payload), %(event_text)s) > 0)
 ORDER BY received_at DESC LIMIT 1
