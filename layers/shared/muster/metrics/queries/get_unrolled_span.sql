SELECT min(e.occurred_at), max(e.occurred_at) FROM muster.unrolled_events(%(project_id)s, %(watermark)s) e
