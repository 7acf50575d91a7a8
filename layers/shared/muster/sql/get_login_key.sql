SELECT muster.login_key(%(project_id)s)
