SELECT muster.begin_erasure(%(key_hash)s, %(user_id)s)
