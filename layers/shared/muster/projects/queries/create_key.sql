INSERT INTO muster.api_keys (project_id, kind, prefix, key_hash, note)
VALUES (%(project_id)s, %(kind)s, %(prefix)s, %(key_hash)s, %(note)s)
