-- Last month's, for what arrives late, to three months ahead, for a schedule that fails for a while.
SELECT muster.ensure_partitions((now() - interval '1 month')::date, (now() + interval '3 months')::date)
