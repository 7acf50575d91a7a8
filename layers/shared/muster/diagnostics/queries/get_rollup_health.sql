SELECT s.watermark, s.rolled_up_at,
       (s.time_zone, s.keys, s.system_identifier) IS NOT DISTINCT FROM (p.time_zone, p.rollup_keys, c.system_identifier) AS is_current,
       (SELECT count(*) FROM (SELECT FROM muster.analytics_events e
                               WHERE e.project_id = p.id AND e.xid >= s.watermark LIMIT %(most)s) t) AS unrolled
  FROM muster.projects p JOIN muster.rollup_state s ON s.project_id = p.id, pg_control_system() c
 WHERE p.id = %(project_id)s
