SELECT muster.write_canary(%(project_id)s)
