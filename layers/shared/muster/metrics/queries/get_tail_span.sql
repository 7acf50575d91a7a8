SELECT min(e.occurred_at), max(e.occurred_at) FROM muster.tail_events(%(project_id)s, %(watermark)s) e
