-- The parts of a range that can hold events that match the filter, as [start, end): the days for which the roll-ups have such
-- events, and the span of the unrolled events. One statement reads both, so no event is missed while a roll-up runs.
--
--   state         how far the project is rolled up
--   wanted        the dimension values that the filter names
--   participant   the times of the sessions with a wanted participant type
--   everything    the dimension value of the whole project
WITH state AS MATERIALIZED (
    SELECT muster.rollup_watermark(s.project_id) AS watermark, s.time_zone FROM muster.rollup_state s WHERE s.project_id = %(project_id)s
), wanted AS MATERIALIZED (
    SELECT d.name, v.id
      FROM muster.rollup_dimensions d JOIN muster.rollup_dimension_values v ON v.dimension_id = d.id
     WHERE d.project_id = %(project_id)s AND d.name IN ('eventType', 'area') AND %(filter)s::jsonb -> d.name ? v.value
), participant AS MATERIALIZED (
    SELECT p.first_at, p.last_at FROM muster.participant_sessions(%(project_id)s, %(filter)s::jsonb -> 'participantType') p
     WHERE %(filter)s::jsonb ? 'participantType'
), everything AS (
    SELECT v.id FROM muster.rollup_dimensions d JOIN muster.rollup_dimension_values v ON v.dimension_id = d.id
     WHERE d.project_id = %(project_id)s AND d.name = 'all'
)
SELECT muster.day_start(a.day, t.time_zone), muster.day_start(a.day + 1, t.time_zone)
  FROM state t JOIN muster.rollup_days a ON a.value_id = (SELECT id FROM everything)
   AND a.day >= muster.day_of(%(start)s::timestamptz, t.time_zone) AND a.day <= muster.day_of(%(end)s::timestamptz, t.time_zone)
 WHERE t.watermark IS NOT NULL
   AND (NOT %(filter)s::jsonb ? 'eventType' OR EXISTS (
        SELECT FROM wanted w JOIN muster.rollup_days r ON r.value_id = w.id AND r.day = a.day AND r.events > 0 WHERE w.name = 'eventType'))
   AND (NOT %(filter)s::jsonb ? 'area' OR EXISTS (
        SELECT FROM wanted w JOIN muster.rollup_days r ON r.value_id = w.id AND r.day = a.day AND r.events > 0 WHERE w.name = 'area'))
   AND (NOT %(filter)s::jsonb ? 'userId' OR EXISTS (
        SELECT FROM jsonb_array_elements_text(%(filter)s::jsonb -> 'userId') f(user_id)
          JOIN muster.rollup_user_days u ON u.project_id = %(project_id)s AND u.user_id = f.user_id AND u.day = a.day))
   AND (NOT %(filter)s::jsonb ? 'participantType' OR EXISTS (
        SELECT FROM participant p
         WHERE p.first_at < muster.day_start(a.day + 1, t.time_zone) AND p.last_at >= muster.day_start(a.day, t.time_zone)))
UNION ALL
SELECT min(e.occurred_at), max(e.occurred_at) + interval '1 microsecond'
  FROM state t CROSS JOIN LATERAL muster.unrolled_events(%(project_id)s, t.watermark) e WHERE t.watermark IS NOT NULL
UNION ALL
-- Before the first roll-up, the whole range.
SELECT %(start)s::timestamptz, %(end)s::timestamptz WHERE NOT EXISTS (SELECT FROM state WHERE watermark IS NOT NULL)
