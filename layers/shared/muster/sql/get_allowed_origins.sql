SELECT muster.allowed_origins(%(key_hash)s)
