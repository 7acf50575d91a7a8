SELECT i.reason, i.batch_id, i.occurred_at, i.received_at FROM muster.analytics_ignored i
 WHERE i.project_id = %(project_id)s AND i.id = %(event_id)s ORDER BY i.received_at DESC LIMIT 1
