SELECT muster.put_consent(%(key_hash)s, %(decision)s)
