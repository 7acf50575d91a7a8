SELECT muster.get_session(%(key_hash)s, %(session_id)s)
