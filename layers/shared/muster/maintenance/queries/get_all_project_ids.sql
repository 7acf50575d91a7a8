SELECT id FROM muster.projects ORDER BY created_at, id
