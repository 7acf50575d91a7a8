SELECT reason, count(*) FROM muster.analytics_rejections
 WHERE project_id = %(project_id)s AND received_at > now() - interval '1 day' GROUP BY reason ORDER BY reason
