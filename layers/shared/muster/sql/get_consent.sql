SELECT muster.get_consent(%(key_hash)s, %(user_id)s, %(session_id)s)
