-- The number of batch numbers in a multirange.
CREATE OR REPLACE FUNCTION muster.size_of(p_batches int4multirange) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(sum(upper(r)::bigint - lower(r)), 0)::bigint FROM unnest(p_batches) AS r
$$;

GRANT EXECUTE ON FUNCTION muster.size_of TO muster_reader, muster_admin;
