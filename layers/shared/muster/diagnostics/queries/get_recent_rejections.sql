SELECT reason, sum(events)::bigint FROM muster.analytics_rejections
 WHERE project_id = %(project_id)s AND received_at > now() - interval '1 day' AND replayed_at IS NULL
 GROUP BY reason ORDER BY reason
