-- Whether a text contains a likely payment card number: the first digits and the length of a card network, and a valid check digit.
-- UUIDs are left out: one random UUID in 11,000 would pass.
CREATE OR REPLACE FUNCTION muster.contains_card(p_text text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT EXISTS (
        SELECT FROM regexp_replace(p_text, '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}', 'x', 'gi') AS r(rest),
               regexp_matches(r.rest, '(?:^|[^0-9.])([2-6](?:[ -]?[0-9]){13,18})(?![0-9])', 'g') AS m(found),
               LATERAL (SELECT translate(m.found[1], ' -', '') AS digits) d
         WHERE d.digits ~ ('^(?:4[0-9]{15}|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}'
                           || '|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|35[0-9]{14}|6(?:011|5[0-9]{2})[0-9]{12}|62[0-9]{14,17})$')
           AND (SELECT sum(CASE WHEN n % 2 = 1 THEN digit ELSE digit * 2 - CASE WHEN digit > 4 THEN 9 ELSE 0 END END)
                  FROM (SELECT n, substr(reverse(d.digits), n, 1)::integer AS digit FROM generate_series(1, length(d.digits)) n) l) % 10 = 0)
$$;
