-- The expired data of each project with a data retention. days: [[day, events]…], the days that have events.
SELECT k.project_id, k.retention_days, k.keep_from,
       (SELECT coalesce(json_agg(json_build_array(d.day, d.events) ORDER BY d.day), '[]') FROM (
           SELECT muster.day_of(e.occurred_at, k.time_zone) AS day, count(*) AS events FROM muster.analytics_events e
            WHERE e.project_id = k.project_id AND e.occurred_at < k.keep_from GROUP BY 1) d) AS days,
       (SELECT count(*) FROM muster.analytics_sessions s
         WHERE s.project_id = k.project_id AND s.last_seen_at < k.keep_from) AS sessions,
       (SELECT count(*) FROM muster.analytics_rejections r
         WHERE r.project_id = k.project_id AND r.received_at < k.keep_from AND r.last_received_at < k.keep_from) AS rejections,
       (SELECT count(*) FROM muster.analytics_ignored i
         WHERE i.project_id = k.project_id AND i.occurred_at < k.keep_from) AS ignored
  FROM muster.retention_limits() k ORDER BY k.project_id
