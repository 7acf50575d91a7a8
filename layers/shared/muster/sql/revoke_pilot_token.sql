SELECT muster.revoke_pilot_token(%(key_hash)s, %(id)s)
