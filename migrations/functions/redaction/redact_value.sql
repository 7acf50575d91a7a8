-- Removes the given keys and, with p_cards, card numbers from a JSON value at any depth; returns the rest and the number removed.
CREATE OR REPLACE FUNCTION muster.redact_value(p_value jsonb, p_keys text[], p_cards boolean, OUT value jsonb, OUT redacted integer)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    v_key text;
    v_item jsonb;
    v_inner record;
BEGIN
    redacted := 0;
    value := p_value;
    CASE jsonb_typeof(p_value)
    WHEN 'object' THEN
        FOR v_key, v_item IN SELECT * FROM jsonb_each(p_value) LOOP
            IF lower(v_key) = ANY (p_keys)
               OR p_cards AND jsonb_typeof(v_item) IN ('string', 'number') AND muster.contains_card(v_item #>> '{}') THEN
                value := value - v_key;
                redacted := redacted + 1;
            ELSIF jsonb_typeof(v_item) IN ('object', 'array') THEN
                v_inner := muster.redact_value(v_item, p_keys, p_cards);
                IF v_inner.redacted > 0 THEN
                    value := value || jsonb_build_object(v_key, v_inner.value);
                    redacted := redacted + v_inner.redacted;
                END IF;
            END IF;
        END LOOP;
    WHEN 'array' THEN
        value := '[]';
        FOR v_item IN SELECT * FROM jsonb_array_elements(p_value) LOOP
            IF p_cards AND jsonb_typeof(v_item) IN ('string', 'number') AND muster.contains_card(v_item #>> '{}') THEN
                redacted := redacted + 1;
            ELSE
                v_inner := muster.redact_value(v_item, p_keys, p_cards);
                value := value || jsonb_build_array(v_inner.value);
                redacted := redacted + v_inner.redacted;
            END IF;
        END LOOP;
    ELSE
        NULL;
    END CASE;
END
$$;
