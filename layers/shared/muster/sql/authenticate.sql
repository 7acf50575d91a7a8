SELECT project_id, kind, prefix FROM muster.authenticate(%(key_hash)s)
