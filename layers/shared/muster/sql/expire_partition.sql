SELECT project_id, events, sessions FROM muster.expire_partition(%(partition)s)
