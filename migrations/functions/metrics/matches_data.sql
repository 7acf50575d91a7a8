-- Whether an event's data has one of the wanted values under each key. p_wanted: {key: [text…]}.
CREATE OR REPLACE FUNCTION muster.matches_data(p_wanted jsonb, p_data jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT NOT EXISTS (SELECT FROM jsonb_each(p_wanted) w WHERE (w.value ? (p_data ->> w.key)) IS NOT TRUE)
$$;

GRANT EXECUTE ON FUNCTION muster.matches_data TO muster_reader, muster_admin;
