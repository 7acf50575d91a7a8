SELECT e.id, e.session_id, e.user_id, e.event_type, e.area, e.occurred_at AS timestamp, e.received_at, e.data
  FROM muster.analytics_events e
 WHERE e.project_id = %(project_id)s AND e.occurred_at >= %(start)s AND e.occurred_at < %(end)s
   AND (%(event_types)s::text[] IS NULL OR e.event_type = ANY (%(event_types)s::text[]))
   AND (%(areas)s::text[] IS NULL OR e.area = ANY (%(areas)s::text[]))
   AND (%(user_ids)s::text[] IS NULL OR e.user_id = ANY (%(user_ids)s::text[]))
   AND (%(participant_types)s::text[] IS NULL OR e.session_id IN (
       SELECT p.session_id FROM muster.participant_sessions(%(project_id)s, %(participant_types)s::text[]) p))
   AND (%(data)s::jsonb = '[]' OR (
       SELECT bool_and(coalesce(e.data ->> f.key = ANY (f.wanted), false))
         FROM jsonb_to_recordset(%(data)s::jsonb) AS f(key text, wanted text[])))
   -- The first comparison alone would do for the answer; it is what the index and the partitions understand.
   AND (%(after_time)s::timestamptz IS NULL OR e.occurred_at <= %(after_time)s::timestamptz)
   AND (%(after_time)s::timestamptz IS NULL OR (e.occurred_at, e.session_id, e.id)
        < (%(after_time)s::timestamptz, %(after_session)s::uuid, %(after_id)s::uuid))
 ORDER BY e.occurred_at DESC, e.session_id DESC, e.id DESC LIMIT %(limit)s
