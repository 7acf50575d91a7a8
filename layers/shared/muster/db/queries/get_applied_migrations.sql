SELECT version, name, checksum FROM muster.schema_migrations ORDER BY version
