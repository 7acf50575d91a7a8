-- The sessions whose latest matching event is in this window (start to end) of the range, newest first. Sessions with a later
-- matching event were returned for an earlier window.
--
--   found   the sessions with a matching event in the window
--   page    those without a later matching event in the range, after the cursor
--   m       all matching events of a session in the range
WITH found AS MATERIALIZED (
    SELECT e.session_id, max(e.occurred_at) AS last_event_at
      FROM muster.matching_events(%(project_id)s, %(start)s, %(end)s, %(filter)s) e
     GROUP BY e.session_id
), page AS MATERIALIZED (
    SELECT f.session_id, f.last_event_at FROM found f
     WHERE (%(after_time)s::timestamptz IS NULL
            OR (f.last_event_at, f.session_id) < (%(after_time)s::timestamptz, %(after_session)s::uuid))
       AND NOT EXISTS (SELECT FROM muster.matching_events(%(project_id)s, %(end)s, %(range_end)s, %(filter)s::jsonb - 'sessionId') l
                        WHERE l.session_id = f.session_id)
     ORDER BY f.last_event_at DESC, f.session_id DESC LIMIT %(limit)s
)
SELECT muster.session_json(s, false) || jsonb_build_object(
           'participant_type', muster.participant_type_of(s.project_id, s.id), 'events_in_range', m.events,
           'first_event_at', m.first_event_at, 'last_event_at', p.last_event_at)
  FROM page p
  JOIN muster.analytics_sessions s ON s.project_id = %(project_id)s AND s.id = p.session_id,
       LATERAL (SELECT count(*) AS events, min(e.occurred_at) AS first_event_at FROM muster.matching_events(
           %(project_id)s, greatest(s.started_at, %(range_start)s::timestamptz), p.last_event_at + interval '1 microsecond',
           %(filter)s::jsonb - 'sessionId') e
         WHERE e.session_id = p.session_id) m
 ORDER BY p.last_event_at DESC, p.session_id DESC
