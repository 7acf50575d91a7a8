SELECT muster.show_session(%(key_hash)s, %(session_id)s)
