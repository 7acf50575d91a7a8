SELECT muster.redeem_pilot_token(%(key_hash)s, %(token_hash)s, %(user_id)s, %(session_id)s::uuid)
