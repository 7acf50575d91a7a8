SELECT min(occurred_at), max(occurred_at) FROM muster.analytics_events WHERE project_id = %(project_id)s AND xid >= %(watermark)s
