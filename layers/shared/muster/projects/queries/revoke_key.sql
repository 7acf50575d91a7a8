UPDATE muster.api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = %(id)s
RETURNING id, prefix, kind, note, created_at, last_used_at, revoked_at
