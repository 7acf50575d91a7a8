-- Redacts the payload of a rejected event by the project's rules. A payload may not be JSON; returns null if it needs redaction but
-- cannot be parsed.
CREATE OR REPLACE FUNCTION muster.redact_payload(p_payload text, p_project muster.projects) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_found record;
BEGIN
    IF NOT muster.contains_key(p_payload, p_project.redacted_keys)
       AND NOT (p_project.redacts_cards AND p_payload ~ '[2-6](?:[ -]?[0-9]){13}')
       AND strpos(p_payload, '\u') = 0 THEN
        RETURN p_payload;
    END IF;
    v_found := muster.redact(p_payload::jsonb, p_project);
    RETURN CASE WHEN v_found.redacted = 0 THEN p_payload ELSE v_found.value::text END;
EXCEPTION WHEN data_exception OR program_limit_exceeded OR statement_too_complex THEN
    RETURN CASE WHEN muster.contains_key(p_payload, p_project.redacted_keys) OR p_project.redacts_cards AND muster.contains_card(p_payload)
                THEN NULL ELSE p_payload END;
END
$$;
