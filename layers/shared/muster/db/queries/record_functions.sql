INSERT INTO muster.schema_functions (checksum, duration_ms) VALUES (%(checksum)s, %(duration_ms)s)
ON CONFLICT (only_row) DO UPDATE SET checksum = excluded.checksum, applied_at = now(), duration_ms = excluded.duration_ms
