SELECT muster.record_events(%(key_hash)s, %(request)s, %(body)s)
