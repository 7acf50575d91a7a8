SELECT checksum FROM muster.schema_functions
