SELECT muster.summarize_partitions()
