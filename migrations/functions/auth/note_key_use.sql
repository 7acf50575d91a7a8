-- Notes that a key was used, at most once an hour for each key. Functions call it after their work. If another call is updating the
-- same key, this one skips it, so no request waits for a lock.
CREATE OR REPLACE FUNCTION muster.note_key_use(p_key_hash bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
    UPDATE muster.api_keys SET last_used_at = now()
     WHERE id = (SELECT k.id FROM muster.api_keys k
                  WHERE k.key_hash = p_key_hash AND k.revoked_at IS NULL
                    AND (k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 hour')
                    FOR NO KEY UPDATE SKIP LOCKED)
$$;

GRANT EXECUTE ON FUNCTION muster.note_key_use TO muster_ingest, muster_people, muster_reader, muster_admin;
