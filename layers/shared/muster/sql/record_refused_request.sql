SELECT muster.record_refused_request(%(key_hash)s, %(request_id)s, %(rejections)s)
