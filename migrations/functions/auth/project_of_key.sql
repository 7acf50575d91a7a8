-- The project of a key of one of these kinds. Every function that takes a key begins with it. It always answers one row;
-- refused says why there is no project: invalid_key (unknown or revoked) or key_not_allowed (another kind).
-- The planner puts its text in the place of the call.
CREATE OR REPLACE FUNCTION muster.project_of_key(p_key_hash bytea, p_kinds text[])
RETURNS TABLE (project_id uuid, kind text, prefix text, refused text)
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN k.kind = ANY (p_kinds) THEN k.project_id END, k.kind, k.prefix,
           CASE WHEN k.kind IS NULL THEN 'invalid_key' WHEN k.kind <> ALL (p_kinds) THEN 'key_not_allowed' END
      FROM (SELECT) one LEFT JOIN muster.api_keys k ON k.key_hash = p_key_hash AND k.revoked_at IS NULL
$$;
