SELECT checked_at, sessions, differing, events_apart, examples FROM muster.reconciliations WHERE project_id = %(project_id)s
