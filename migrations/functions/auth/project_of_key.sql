-- The project of a key of one of these kinds, with the settings that the fast path needs. Every function that takes a key calls this
-- first. If it returns no row, muster.refusal_of_key has the reason. The planner inlines it.
CREATE OR REPLACE FUNCTION muster.project_of_key(p_key_hash bytea, p_kinds text[])
RETURNS TABLE (project_id uuid, kind text, prefix text, event_window interval, redacted_keys text[], may_need_full_path boolean)
LANGUAGE sql STABLE AS $$
    SELECT k.project_id, k.kind, k.prefix, k.event_window, k.redacted_keys, k.may_need_full_path
      FROM muster.api_keys k WHERE k.key_hash = p_key_hash AND k.revoked_at IS NULL AND k.kind = ANY (p_kinds)
$$;
