-- Counts an unknown token and returns the response: {"refused": "token_not_found" | "too_many_attempts", …}. A known token is never
-- counted, so no one can lock out its holder.
CREATE OR REPLACE FUNCTION muster.count_unknown_token(p_project_id uuid) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    v_most CONSTANT integer := muster.max_unknown_tokens_per_minute();
    v_window CONSTANT interval := '1 minute';
    v_attempts muster.pilot_attempts;
BEGIN
    SELECT * INTO v_attempts FROM muster.pilot_attempts WHERE project_id = p_project_id;
    -- Above the limit, nothing is written.
    IF v_attempts.failures IS NULL OR v_attempts.failures < v_most OR v_attempts.since <= now() - v_window THEN
        INSERT INTO muster.pilot_attempts AS a (project_id) VALUES (p_project_id)
        ON CONFLICT (project_id) DO UPDATE SET
               failures = CASE WHEN a.since > now() - v_window THEN a.failures + 1 ELSE 1 END,
               since = CASE WHEN a.since > now() - v_window THEN a.since ELSE now() END
        RETURNING * INTO v_attempts;
        IF v_attempts.failures <= v_most THEN
            RETURN '{"refused": "token_not_found"}';
        END IF;
    END IF;
    RETURN jsonb_build_object('refused', 'too_many_attempts', 'retry_after_seconds',
        greatest(1, ceil(extract(epoch FROM v_attempts.since + v_window - now())))::integer);
END
$$;
