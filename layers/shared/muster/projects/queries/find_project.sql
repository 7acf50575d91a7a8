SELECT id FROM muster.projects WHERE name = %(name)s
