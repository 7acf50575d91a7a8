SELECT muster.store_session(%(project_id)s, %(session_id)s, %(change)s)
