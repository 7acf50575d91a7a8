SELECT muster.get_pilot_tokens(%(key_hash)s, %(cursor)s::uuid, %(limit)s)
