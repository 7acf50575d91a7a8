SELECT muster.run_erasure(%(key_hash)s, %(user_id)s, %(receipt_id)s, %(most)s)
