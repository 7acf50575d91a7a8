SELECT project_id, sessions, differing, events_apart FROM muster.reconcile_sessions(%(most)s)
