SELECT id, prefix, kind, note, created_at, last_used_at, revoked_at
  FROM muster.api_keys WHERE project_id = %(project_id)s ORDER BY created_at, id
