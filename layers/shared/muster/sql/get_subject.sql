SELECT muster.get_subject(%(key_hash)s, %(user_id)s, %(after)s, %(limit)s)
