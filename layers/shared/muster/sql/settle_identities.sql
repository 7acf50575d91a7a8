SELECT muster.settle_identities(%(project_id)s)
