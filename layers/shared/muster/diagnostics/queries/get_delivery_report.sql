SELECT s.id AS session_id, s.user_id, s.started_at, s.last_seen_at, s.ended_at, s.events_count, s.dropped, s.user_conflicts,
       s.clock_skew_ms, coalesce(upper(s.batches) - 1, 0) AS last_batch,
       (SELECT coalesce(json_agg(json_build_array(lower(r), upper(r) - 1) ORDER BY r), '[]') FROM unnest(s.batches) r) AS received,
       (SELECT coalesce(json_agg(json_build_array(lower(r), upper(r) - 1) ORDER BY r), '[]')
          FROM unnest(muster.gaps_in(s.batches)) r) AS gaps,
       muster.size_of(muster.gaps_in(s.batches)) AS missing,
       e.stored, e.median_seconds, e.max_seconds, e.last_received_at,
       (SELECT coalesce(sum(q.events), 0)::bigint FROM muster.analytics_rejections q
         WHERE q.project_id = s.project_id AND q.session_id = s.id::text AND q.replayed_at IS NULL) AS rejected
  FROM muster.analytics_sessions s,
       LATERAL (SELECT count(*) AS stored, max(a.received_at) AS last_received_at,
                       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM a.received_at - a.occurred_at)) AS median_seconds,
                       extract(epoch FROM max(a.received_at - a.occurred_at))::double precision AS max_seconds
                  FROM muster.analytics_events a WHERE a.project_id = s.project_id AND a.session_id = s.id) e
 WHERE s.project_id = %(project_id)s AND s.id = %(session_id)s
