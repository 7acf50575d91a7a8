INSERT INTO muster.projects (name, redacted_keys) VALUES (%(name)s, %(redacted_keys)s) RETURNING id
