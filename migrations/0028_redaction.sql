-- What a project does not want to keep of data: keys by name, and what looks like the number of a payment card.

ALTER TABLE muster.projects ADD COLUMN redacted_keys text[] NOT NULL DEFAULT '{email,password,token}';
ALTER TABLE muster.projects ADD COLUMN redacts_cards boolean NOT NULL DEFAULT true;

-- Whether a text holds a number such as payment cards bear: of a network's first digits and its length, with a check digit that is right.
CREATE FUNCTION muster.holds_card(p_text text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT EXISTS (
        SELECT FROM regexp_matches(p_text, '(?:^|[^0-9.])([2-6](?:[ -]?[0-9]){13,18})(?![0-9])', 'g') AS m(found),
               LATERAL (SELECT translate(m.found[1], ' -', '') AS digits) d
         WHERE d.digits ~ ('^(?:4[0-9]{15}|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}'
                           || '|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|35[0-9]{14}|6(?:011|5[0-9]{2})[0-9]{12}|62[0-9]{14,17})$')
           AND (SELECT sum(CASE WHEN n % 2 = 1 THEN digit ELSE digit * 2 - CASE WHEN digit > 4 THEN 9 ELSE 0 END END)
                  FROM (SELECT n, substr(reverse(d.digits), n, 1)::integer AS digit FROM generate_series(1, length(d.digits)) n) l) % 10 = 0)
$$;

-- The value without what the project does not keep, at any depth, and how much that was.
CREATE FUNCTION muster.redact_value(p_value jsonb, p_keys text[], p_cards boolean, OUT value jsonb, OUT redacted integer)
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
               OR p_cards AND jsonb_typeof(v_item) IN ('string', 'number') AND muster.holds_card(v_item #>> '{}') THEN
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
            IF p_cards AND jsonb_typeof(v_item) IN ('string', 'number') AND muster.holds_card(v_item #>> '{}') THEN
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

-- The same, at the price of one look where there is nothing to redact.
CREATE FUNCTION muster.redact(p_value jsonb, p_project muster.projects, OUT value jsonb, OUT redacted integer)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_text text := p_value::text;
BEGIN
    value := p_value;
    redacted := 0;
    IF muster.names_key(v_text, p_project.redacted_keys) OR p_project.redacts_cards AND v_text ~ '[2-6](?:[ -]?[0-9]){13}' THEN
        SELECT r.value, r.redacted INTO value, redacted
          FROM muster.redact_value(p_value, ARRAY(SELECT lower(k) FROM unnest(p_project.redacted_keys) k), p_project.redacts_cards) r;
    END IF;
END
$$;

-- Whether a JSON text holds one of the names as a text of its own, in any case of letters.
CREATE FUNCTION muster.names_key(p_text text, p_keys text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT EXISTS (SELECT FROM unnest(p_keys) k WHERE strpos(lower(p_text), lower(to_json(k)::text)) > 0)
$$;

-- A rejected event's payload, which is a text that may be no JSON; null where it holds what is not kept and cannot be taken apart.
CREATE FUNCTION muster.redact_payload(p_payload text, p_project muster.projects) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_found record;
BEGIN
    IF NOT muster.names_key(p_payload, p_project.redacted_keys)
       AND NOT (p_project.redacts_cards AND p_payload ~ '[2-6](?:[ -]?[0-9]){13}')
       AND strpos(p_payload, '\u') = 0 THEN
        RETURN p_payload;
    END IF;
    v_found := muster.redact(p_payload::jsonb, p_project);
    RETURN CASE WHEN v_found.redacted = 0 THEN p_payload ELSE v_found.value::text END;
EXCEPTION WHEN data_exception OR program_limit_exceeded OR statement_too_complex THEN
    RETURN CASE WHEN muster.names_key(p_payload, p_project.redacted_keys) OR p_project.redacts_cards AND muster.holds_card(p_payload)
                THEN NULL ELSE p_payload END;
END
$$;
