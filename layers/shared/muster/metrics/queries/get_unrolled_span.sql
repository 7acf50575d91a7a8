-- The times of a project's first and last unrolled event.
SELECT min(e.occurred_at), max(e.occurred_at) FROM muster.unrolled_events(%(project_id)s, %(watermark)s) e
