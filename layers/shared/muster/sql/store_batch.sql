SELECT muster.store_batch(%(project_id)s, 'write', %(request)s, %(body)s)
