SELECT muster.issue_pilot_tokens(%(key_hash)s, %(ids)s::uuid[], %(hashes)s::bytea[], %(prefixes)s::text[], %(participant_type)s,
                                 %(max_uses)s, %(expires_at)s::timestamptz, %(note)s)
