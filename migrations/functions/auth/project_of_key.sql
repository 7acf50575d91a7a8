-- The project of a key of one of these kinds. Every function that takes a key calls this first. If it returns no row,
-- muster.refusal_of_key has the reason. The planner inlines it.
CREATE OR REPLACE FUNCTION muster.project_of_key(p_key_hash bytea, p_kinds text[]) RETURNS TABLE (project_id uuid, kind text, prefix text)
LANGUAGE sql STABLE AS $$
    SELECT k.project_id, k.kind, k.prefix
      FROM muster.api_keys k WHERE k.key_hash = p_key_hash AND k.revoked_at IS NULL AND k.kind = ANY (p_kinds)
$$;
