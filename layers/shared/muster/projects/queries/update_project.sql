UPDATE muster.projects p
   SET (name, time_zone, consent_mode, allowed_origins, event_window_days, retention_days, rollup_keys, honors_signals,
        identifies_backwards, redacted_keys, redacts_cards) = (
       SELECT c.name, c.time_zone, c.consent_mode, c.allowed_origins, c.event_window_days, c.retention_days, c.rollup_keys,
              c.honors_signals, c.identifies_backwards, c.redacted_keys, c.redacts_cards
         FROM jsonb_populate_record(p, %(change)s::jsonb) c)
 WHERE p.id = %(project_id)s
RETURNING id, name, time_zone, consent_mode, allowed_origins, event_window_days, retention_days, rollup_keys, honors_signals,
          identifies_backwards, redacted_keys, redacts_cards, created_at
