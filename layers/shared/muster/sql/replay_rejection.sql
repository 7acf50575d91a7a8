SELECT muster.replay_rejection(%(key_hash)s, %(id)s, %(request)s, %(body)s)
