-- The pilot tokens by state, and the unknown tokens that were tried in the latest minute of attempts. The last column says whether
-- that minute was in the last hour and reached the limit.
SELECT count(*) FILTER (WHERE t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now()) AND t.uses < t.max_uses),
       count(*) FILTER (WHERE t.revoked_at IS NOT NULL), coalesce(sum(t.uses), 0)::bigint,
       coalesce((SELECT a.failures FROM muster.pilot_attempts a WHERE a.project_id = %(project_id)s), 0),
       EXISTS (SELECT FROM muster.pilot_attempts a
                WHERE a.project_id = %(project_id)s AND a.failures >= muster.max_unknown_tokens_per_minute() AND a.since > now() - interval '1 hour')
  FROM muster.pilot_tokens t WHERE t.project_id = %(project_id)s
