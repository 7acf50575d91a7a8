-- One JSON line for each event, in the order of the archive's objects. data is a string, so the columns are the same for all events.
SELECT e.project_id, (e.received_at AT TIME ZONE 'UTC')::date AS day, json_build_object(
           'id', e.id, 'session_id', e.session_id, 'user_id', e.user_id, 'event_type', e.event_type, 'area', e.area,
           'occurred_at', to_char(e.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
           'received_at', to_char(e.received_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
           'batch_id', e.batch_id, 'data', e.data::text)::text AS line
  FROM muster.analytics_events e
 WHERE e.xid >= %(from_xid)s AND e.xid < %(to_xid)s
 ORDER BY 1, 2, e.received_at, e.session_id, e.id
