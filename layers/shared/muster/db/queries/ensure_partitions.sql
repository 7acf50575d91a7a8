-- From last month, for late events, to three months ahead, in case the schedule fails for some time.
SELECT muster.ensure_partitions((now() - interval '1 month')::date, (now() + interval '3 months')::date)
