SELECT muster.put_session(%(key_hash)s, %(session_id)s, %(change)s)
