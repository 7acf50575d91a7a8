SELECT id, name, time_zone, consent_mode, allowed_origins, event_window_days, retention_days, rollup_keys, created_at
  FROM muster.projects ORDER BY created_at, id
