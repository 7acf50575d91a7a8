SELECT p.consent_mode,
       (SELECT count(*) FROM muster.analytics_consent c WHERE c.project_id = p.id AND c.status = 'granted'),
       (SELECT count(*) FROM muster.analytics_ignored i
         WHERE i.project_id = p.id AND i.occurred_at > now() - interval '1 day' AND i.reason <> 'bot'),
       -- Ingest reads decisions only if has_decisions is set.
       NOT p.has_decisions AND EXISTS (SELECT FROM muster.analytics_consent c WHERE c.project_id = p.id)
  FROM muster.projects p WHERE p.id = %(project_id)s
