SELECT events, sessions FROM muster.expire_events(%(project_id)s, %(before)s)
