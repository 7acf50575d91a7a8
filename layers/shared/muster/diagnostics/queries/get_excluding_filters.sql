-- The filters that exclude an event, each with the event's own value.
-- filters: [{"name", "filter"}…]; each "filter" is an argument of muster.matches_filter with one filter.
SELECT f.name, muster.breakdown_value(f.name, e.event_type, e.area, e.user_id, p.participant_type, e.data) AS value
  FROM muster.analytics_events e,
       LATERAL (SELECT muster.participant_type_of(e.project_id, e.session_id) AS participant_type) p,
       ROWS FROM (jsonb_to_recordset(%(filters)s::jsonb) AS (name text, filter jsonb)) WITH ORDINALITY AS f(name, filter, position)
 WHERE e.project_id = %(project_id)s AND e.session_id = %(session_id)s AND e.id = %(event_id)s
   AND e.occurred_at = %(occurred_at)s
   AND NOT muster.matches_filter(f.filter, e.event_type, e.area, e.user_id, p.participant_type, e.data)
 ORDER BY f.position
