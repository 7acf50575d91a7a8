-- The sessions of the last 24 hours with missing batches, and the events that clients dropped. A batch counts as missing if its
-- session has not changed for five minutes.
SELECT count(*) FILTER (WHERE gaps > 0) AS sessions, coalesce(sum(gaps), 0)::bigint AS batches,
       coalesce(sum(dropped), 0)::bigint AS dropped,
       coalesce((array_agg(id ORDER BY gaps DESC) FILTER (WHERE gaps > 0))[1:5], '{}') AS examples
  FROM (SELECT s.id, s.dropped, CASE WHEN s.updated_at < now() - interval '5 minutes'
                                     THEN muster.size_of(muster.gaps_in(s.batches)) ELSE 0 END AS gaps
          FROM muster.analytics_sessions s
         WHERE s.project_id = %(project_id)s AND s.created_at > now() - interval '1 day') s
