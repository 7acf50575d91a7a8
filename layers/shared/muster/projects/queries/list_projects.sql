SELECT id, name, time_zone, consent_mode, allowed_origins, event_window_days, retention_days, rollup_keys, honors_signals,
       identifies_backwards, redacted_keys, redacts_cards, created_at
  FROM muster.projects ORDER BY created_at, id
