-- How far a project is rolled up. Always one row.
SELECT now() AS now, muster.rollup_watermark(p.id) AS watermark, coalesce(s.keys, '{}') AS keys, s.time_zone, s.first_at, s.last_at,
       s.rolled_up_at < now() - interval '1 minute' AS is_old,
       EXISTS (SELECT FROM muster.pending_identities i WHERE i.project_id = p.id) AS has_pending
  FROM (SELECT %(project_id)s::uuid AS id) p LEFT JOIN muster.rollup_state s ON s.project_id = p.id
