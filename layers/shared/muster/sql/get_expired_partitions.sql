SELECT name FROM muster.expired_partitions()
