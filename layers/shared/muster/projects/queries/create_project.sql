INSERT INTO muster.projects (name) VALUES (%(name)s) RETURNING id
