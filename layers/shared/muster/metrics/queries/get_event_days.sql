-- The times within which events can be that pass the filters: the days of which rollups know such, and those since the watermark.
-- One statement and one snapshot, so that what is folded meanwhile is in one of them.
WITH state AS MATERIALIZED (
    SELECT muster.rollup_watermark(s.project_id) AS watermark, s.time_zone FROM muster.rollup_state s WHERE s.project_id = %(project_id)s
), participant AS MATERIALIZED (
    SELECT p.first_at, p.last_at FROM muster.participant_sessions(%(project_id)s, %(participant_types)s::text[]) p
     WHERE %(participant_types)s::text[] IS NOT NULL
), everything AS (
    SELECT s.id FROM muster.rollup_dimensions d JOIN muster.rollup_scopes s ON s.dimension_id = d.id
     WHERE d.project_id = %(project_id)s AND d.name = 'all'
)
SELECT muster.day_start(a.day, t.time_zone), muster.day_start(a.day + 1, t.time_zone)
  FROM state t JOIN muster.rollup_days a ON a.scope_id = (SELECT id FROM everything)
   AND a.day >= muster.day_of(%(start)s::timestamptz, t.time_zone) AND a.day <= muster.day_of(%(end)s::timestamptz, t.time_zone)
 WHERE t.watermark IS NOT NULL
   AND (%(event_types)s::text[] IS NULL OR EXISTS (
        SELECT FROM muster.rollup_dimensions d JOIN muster.rollup_scopes s ON s.dimension_id = d.id
          JOIN muster.rollup_days r ON r.scope_id = s.id AND r.day = a.day AND r.events > 0
         WHERE d.project_id = %(project_id)s AND d.name = 'eventType' AND s.value = ANY (%(event_types)s::text[])))
   AND (%(areas)s::text[] IS NULL OR EXISTS (
        SELECT FROM muster.rollup_dimensions d JOIN muster.rollup_scopes s ON s.dimension_id = d.id
          JOIN muster.rollup_days r ON r.scope_id = s.id AND r.day = a.day AND r.events > 0
         WHERE d.project_id = %(project_id)s AND d.name = 'area' AND s.value = ANY (%(areas)s::text[])))
   AND (%(user_ids)s::text[] IS NULL OR EXISTS (
        SELECT FROM muster.rollup_user_days u
         WHERE u.project_id = %(project_id)s AND u.user_id = ANY (%(user_ids)s::text[]) AND u.day = a.day))
   AND (%(participant_types)s::text[] IS NULL OR EXISTS (
        SELECT FROM participant p
         WHERE p.first_at < muster.day_start(a.day + 1, t.time_zone) AND p.last_at >= muster.day_start(a.day, t.time_zone)))
UNION ALL
SELECT min(e.occurred_at), max(e.occurred_at) + interval '1 microsecond'
  FROM state t CROSS JOIN LATERAL muster.tail_events(%(project_id)s, t.watermark) e WHERE t.watermark IS NOT NULL
UNION ALL
-- Before anything is folded, anywhere.
SELECT %(start)s::timestamptz, %(end)s::timestamptz WHERE NOT EXISTS (SELECT FROM state WHERE watermark IS NOT NULL)
