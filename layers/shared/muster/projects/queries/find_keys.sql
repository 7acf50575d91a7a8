-- By its id, by itself, or by how it begins.
SELECT id, project_id FROM muster.api_keys
 WHERE id::text = lower(%(named)s) OR key_hash = %(key_hash)s OR prefix = %(named)s
 LIMIT 2
