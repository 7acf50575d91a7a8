-- Finds a key by its id, its prefix or itself. Two rows: several keys have this prefix.
SELECT id, project_id FROM muster.api_keys
 WHERE id::text = lower(%(id_prefix_or_key)s) OR key_hash = %(key_hash)s OR prefix = %(id_prefix_or_key)s
 LIMIT 2
