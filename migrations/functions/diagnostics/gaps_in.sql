-- The batch numbers that are missing below the highest one received.
CREATE OR REPLACE FUNCTION muster.gaps_in(p_batches int4multirange) RETURNS int4multirange
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN isempty(p_batches) THEN p_batches
                ELSE int4multirange(int4range(1, upper(p_batches))) - p_batches END
$$;

GRANT EXECUTE ON FUNCTION muster.gaps_in TO muster_reader, muster_admin;
