-- The overview from the roll-ups. Whole days come from the roll-ups; everything else comes from the events: the unrolled ones, and
-- those in the incomplete days at the ends of a range. If no dimension value has the filters (is_rolled_up is false), all counts come
-- from the events. Returns one row. The CTEs:
--
--   state               how far the project is rolled up
--   dimension_value     the dimension value whose roll-ups hold the counts
--   participant         the participant type of each session, if the filters or the breakdown need it
--   bound               the spans to count, by number: 0 is the range, -1 the previous range, 1… the buckets. Each has its whole days:
--                       first_day to end_day (exclusive), which are the times inner_from to inner_to (exclusive)
--   unrolled            the unrolled events, with the breakdown's value and whether they match the filters
--   span                the times outside the whole days
--   edge                the rolled-up events in those times that match
--   recent              the events of unrolled and edge that match, each with the range and the bucket that count it
--   recent_session      the sessions of recent, with number, first and last of their events
--   single_session      the sessions to read one by one: recent_session, and the long sessions that continue beyond the whole days
--   rolled_up_session   the rolled-up events of single_session in the whole days. is_inside: they are all of the session's
--                       rolled-up events, so rollup_session_spans counts the session
--   session             rolled_up_session and recent_session added up
--   session_sum         what session adds to the sums of the roll-ups
--   recent_user         the users of recent. is_active: the roll-ups count them already
--   candidate           the users that may be new: those of unrolled, and those of recent
--   checked             the correction of the new users of the roll-ups by candidate
--   new_user            the number of users whose first event is in the range
--   counted             events, users, sessions, and the sessions' total length and bounces of each bound
--   total               the totals of the range and of the previous range, as JSON
--   broken_down         the values of the breakdown with the most events
--   breakdown           the same with their users and sessions
--   counted_ever        the number of rolled-up events that match at any time. is_all: all months were counted
--   whole               the same with the unrolled events
WITH state AS MATERIALIZED (
    SELECT muster.rollup_watermark(s.project_id) AS watermark, s.time_zone, s.last_at FROM muster.rollup_state s WHERE s.project_id = %(project_id)s
), dimension_value AS MATERIALIZED (
    SELECT s.id FROM muster.rollup_dimensions d JOIN muster.rollup_dimension_values s ON s.dimension_id = d.id
     WHERE d.project_id = %(project_id)s AND d.name = %(dimension)s::text AND s.value_hash = muster.hash_text(%(value)s::text)
), participant AS MATERIALIZED (
    SELECT p.session_id, p.participant_type FROM muster.participant_sessions(%(project_id)s, NULL) p
     WHERE %(filter)s::jsonb ? 'participantType' OR %(breakdown)s::text = 'participantType'
), bound AS MATERIALIZED (
    SELECT b.number, b.from_at, b.to_at, i.first_day, i.end_day,
           muster.day_start(i.first_day, t.time_zone) AS inner_from, muster.day_start(i.end_day, t.time_zone) AS inner_to
      FROM state t
     CROSS JOIN (
           SELECT 0 AS number, %(start)s::timestamptz AS from_at, %(end)s::timestamptz AS to_at
           UNION ALL SELECT -1, %(before)s::timestamptz, %(start)s::timestamptz
           UNION ALL SELECT n::integer, greatest(f, %(start)s::timestamptz), least(u, %(end)s::timestamptz)
             FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) WITH ORDINALITY AS s(f, u, n)) b
      LEFT JOIN LATERAL (
           SELECT d.first_day, d.end_day
             FROM (SELECT muster.day_of(b.from_at, t.time_zone) AS day, muster.day_of(b.to_at, t.time_zone) AS end_day) w,
                  LATERAL (SELECT w.day + (muster.day_start(w.day, t.time_zone) < b.from_at)::integer AS first_day, w.end_day) d
            WHERE %(is_rolled_up)s AND d.first_day < d.end_day) i ON true
), unrolled AS MATERIALIZED (
    SELECT e.occurred_at, e.session_id, e.user_id,
           muster.breakdown_value(%(breakdown)s, e.event_type, e.area, e.user_id, p.participant_type, e.data) AS value,
           muster.matches_filter(%(filter)s::jsonb, e.event_type, e.area, e.user_id, p.participant_type, e.data) AS matches
      FROM muster.unrolled_events(%(project_id)s, %(watermark)s) e LEFT JOIN participant p ON p.session_id = e.session_id
), span AS MATERIALIZED (
    SELECT unnest(range_agg(tstzrange(p.from_at, p.to_at, '[)'))) AS times
      FROM bound b CROSS JOIN LATERAL (
           SELECT b.from_at, b.to_at WHERE b.first_day IS NULL
           UNION ALL SELECT b.from_at, b.inner_from WHERE b.first_day IS NOT NULL
           UNION ALL SELECT b.inner_to, b.to_at WHERE b.first_day IS NOT NULL) p
), edge AS MATERIALIZED (
    SELECT e.occurred_at, e.session_id, e.user_id,
           muster.breakdown_value(%(breakdown)s, e.event_type, e.area, e.user_id, p.participant_type, e.data) AS value
      FROM span s
     CROSS JOIN LATERAL muster.rolled_up_events(%(project_id)s, %(watermark)s, lower(s.times), upper(s.times), %(filter)s) e
      LEFT JOIN participant p ON p.session_id = e.session_id
), recent AS MATERIALIZED (
    SELECT b.number, r.occurred_at, r.session_id, r.user_id, r.value
      FROM (SELECT occurred_at, session_id, user_id, value, true AS is_unrolled FROM unrolled WHERE matches
            UNION ALL SELECT occurred_at, session_id, user_id, value, false FROM edge) r
     CROSS JOIN LATERAL (VALUES
           (CASE WHEN r.occurred_at >= %(start)s::timestamptz THEN 0 ELSE -1 END),
           (CASE WHEN r.occurred_at >= %(start)s::timestamptz THEN width_bucket(r.occurred_at, %(starts)s::timestamptz[]) END)) v(number)
      JOIN bound b ON b.number = v.number
     WHERE r.occurred_at >= b.from_at AND r.occurred_at < b.to_at
       AND (r.is_unrolled OR b.first_day IS NULL OR r.occurred_at < b.inner_from OR r.occurred_at >= b.inner_to)
), recent_session AS MATERIALIZED (
    SELECT number, session_id, count(*) AS events, min(occurred_at) AS first_at, max(occurred_at) AS last_at
      FROM recent GROUP BY number, session_id
), single_session AS MATERIALIZED (
    SELECT number, session_id FROM recent_session
    UNION SELECT b.number, l.session_id
      FROM bound b JOIN muster.rollup_long_sessions l ON l.project_id = %(project_id)s
       AND ((l.last_day >= b.first_day AND l.first_day < b.first_day) OR (l.last_day >= b.end_day AND l.first_day < b.end_day))
     WHERE b.number <= 0 AND b.first_day IS NOT NULL
), rolled_up_session AS MATERIALIZED (
    SELECT s.number, s.session_id, coalesce(f.events, 0) AS events, f.first_at, f.last_at,
           coalesce(f.events = f.events_ever AND f.events > 0, false) AS is_inside
      FROM single_session s JOIN bound b ON b.number = s.number
      LEFT JOIN LATERAL (SELECT l.session_id FROM muster.rollup_long_sessions l
                          WHERE l.project_id = %(project_id)s AND l.session_id = s.session_id OFFSET 0) l ON true
      LEFT JOIN LATERAL (
           SELECT f.* FROM muster.rolled_up_session(%(project_id)s, %(watermark)s, s.session_id, b.inner_from, b.inner_to,
                                                    %(filter)s) f
            WHERE l.session_id IS NULL AND b.first_day IS NOT NULL
            UNION ALL
           SELECT sum(d.events), coalesce(sum(d.events) FILTER (WHERE d.is_inner), 0),
                  min(d.first_at) FILTER (WHERE d.is_inner), max(d.last_at) FILTER (WHERE d.is_inner)
             FROM (SELECT d.*, d.day >= b.first_day AND d.day < b.end_day AS is_inner FROM muster.rollup_session_days d
                    WHERE d.project_id = %(project_id)s AND d.session_id = s.session_id AND d.value_id = (SELECT id FROM dimension_value)) d
            WHERE l.session_id IS NOT NULL AND b.first_day IS NOT NULL
           HAVING l.session_id IS NOT NULL AND b.first_day IS NOT NULL) f ON true
), session AS (
    SELECT f.number, f.is_inside, f.events AS rolled_up_events, f.events + coalesce(r.events, 0) AS events,
           (extract(epoch FROM f.last_at - f.first_at) * 1000000)::bigint AS rolled_up_micros,
           (extract(epoch FROM greatest(f.last_at, r.last_at) - least(f.first_at, r.first_at)) * 1000000)::bigint AS micros
      FROM rolled_up_session f LEFT JOIN recent_session r ON r.number = f.number AND r.session_id = f.session_id
), session_sum AS (
    SELECT number, count(*) FILTER (WHERE events > 0) - count(*) FILTER (WHERE is_inside) AS sessions,
           count(*) FILTER (WHERE events > 0 AND rolled_up_events = 0) AS fresh,
           coalesce(sum(micros) FILTER (WHERE events > 0), 0) - coalesce(sum(rolled_up_micros) FILTER (WHERE is_inside), 0) AS micros,
           count(*) FILTER (WHERE events = 1) - count(*) FILTER (WHERE is_inside AND rolled_up_events = 1) AS bounces
      FROM session GROUP BY number
), recent_user AS MATERIALIZED (
    SELECT r.number, r.user_id, coalesce(f.is_active, false) AS is_active
      FROM (SELECT DISTINCT number, user_id FROM recent WHERE user_id IS NOT NULL) r JOIN bound b ON b.number = r.number
      LEFT JOIN LATERAL (
           SELECT u.last_days[array_position(u.value_ids, (SELECT id FROM dimension_value))] >= b.first_day AS is_active
             FROM muster.rollup_user_days u
            WHERE b.first_day IS NOT NULL AND u.project_id = %(project_id)s AND u.user_id = r.user_id AND u.day < b.end_day
            ORDER BY u.day DESC LIMIT 1) f ON true
), candidate AS MATERIALIZED (
    SELECT user_id, min(first_at) AS first_at, bool_or(number = 0) AS is_in_range, bool_or(number = -1) AS is_in_previous
      FROM (SELECT user_id, min(occurred_at) AS first_at, NULL::integer AS number FROM unrolled WHERE user_id IS NOT NULL GROUP BY user_id
            UNION ALL SELECT user_id, NULL::timestamptz, number FROM recent_user WHERE number <= 0) c
     GROUP BY user_id
), checked AS MATERIALIZED (
    SELECT b.number, sum(
           ((coalesce(f.is_active, false) OR coalesce(CASE b.number WHEN 0 THEN c.is_in_range ELSE c.is_in_previous END, false))
            AND least(e.first_at, c.first_at) >= b.from_at)::integer
           - coalesce(f.is_active AND e.first_at >= CASE WHEN %(dimension)s::text = 'all' THEN b.inner_from ELSE b.from_at END,
                      false)::integer) AS users
      FROM candidate c CROSS JOIN (SELECT * FROM bound WHERE number <= 0) b
      LEFT JOIN LATERAL (SELECT u.first_at FROM muster.rollup_user_days u
                          WHERE u.project_id = %(project_id)s AND u.user_id = c.user_id ORDER BY u.day DESC LIMIT 1) e ON true
      LEFT JOIN LATERAL (
           SELECT u.last_days[array_position(u.value_ids, (SELECT id FROM dimension_value))] >= b.first_day AS is_active
             FROM muster.rollup_user_days u
            WHERE b.first_day IS NOT NULL AND u.project_id = %(project_id)s AND u.user_id = c.user_id AND u.day < b.end_day
            ORDER BY u.day DESC LIMIT 1) f ON true
     GROUP BY b.number
), new_user AS (
    SELECT b.number, n.rolled_up + coalesce((SELECT j.users FROM checked j WHERE j.number = b.number), 0) AS users
      FROM bound b CROSS JOIN LATERAL (
           SELECT CASE WHEN b.first_day IS NULL THEN 0
                       WHEN %(dimension)s::text = 'all' THEN (
                           SELECT coalesce(sum(r.entities), 0) FROM muster.rollup_returning_activity r
                            WHERE r.value_id = (SELECT id FROM dimension_value) AND r.kind = 'u' AND r.day >= b.first_day AND r.day < b.end_day
                              AND r.previous_day = '-infinity')
                       ELSE (
                           SELECT count(*) FROM muster.rollup_user_days u
                              -- From the day before: the user's first event may be in edge and match no filter.
                            WHERE u.project_id = %(project_id)s AND u.day >= b.first_day - 1 AND u.day < b.end_day
                              AND u.first_at >= b.from_at AND muster.day_of(u.first_at, (SELECT time_zone FROM state)) = u.day
                              AND (SELECT l.last_days[array_position(l.value_ids, (SELECT id FROM dimension_value))] >= b.first_day
                                     FROM muster.rollup_user_days l
                                    WHERE l.project_id = u.project_id AND l.user_id = u.user_id AND l.day < b.end_day
                                    ORDER BY l.day DESC LIMIT 1)) END AS rolled_up) n
     WHERE b.number <= 0
), counted AS MATERIALIZED (
    SELECT b.number, b.from_at, b.to_at,
           coalesce(d.events, 0) + coalesce(e.events, 0) AS events,
           coalesce(d.users, 0) - coalesce(k.users, 0) + coalesce(u.users, 0) AS users,
           coalesce(d.sessions, 0) - coalesce(k.sessions, 0) + coalesce(s.fresh, 0) AS sessions,
           coalesce(p.micros, 0) + coalesce(s.micros, 0) AS micros, coalesce(p.bounces, 0) + coalesce(s.bounces, 0) AS bounces
      FROM bound b
      LEFT JOIN (SELECT number, count(*) AS events FROM recent GROUP BY number) e ON e.number = b.number
      LEFT JOIN (SELECT number, count(*) AS users FROM recent_user WHERE NOT is_active GROUP BY number) u ON u.number = b.number
      LEFT JOIN session_sum s ON s.number = b.number
      LEFT JOIN LATERAL (
           SELECT sum(r.events) AS events, sum(r.users) AS users, sum(r.sessions) AS sessions
             FROM muster.rollup_days r WHERE r.value_id = (SELECT id FROM dimension_value) AND r.day >= b.first_day AND r.day < b.end_day) d
        ON b.first_day IS NOT NULL
      LEFT JOIN LATERAL (
           -- Users and sessions that were active on several days of the range were counted once for each day. Users may return
           -- after any time, so each day is searched for previous days in the range. Sessions are short, so all rows are read.
           SELECT (SELECT sum(r.entities)
                     FROM generate_series(1, b.end_day - b.first_day - 1) g
                    CROSS JOIN LATERAL (
                          SELECT sum(r.entities) AS entities FROM muster.rollup_returning_activity r
                           WHERE r.value_id = (SELECT id FROM dimension_value) AND r.kind = 'u' AND r.day = b.first_day + g
                             AND r.previous_day >= b.first_day) r) AS users,
                  (SELECT sum(r.entities) FROM muster.rollup_returning_activity r
                    WHERE r.value_id = (SELECT id FROM dimension_value) AND r.kind = 's' AND r.day > b.first_day AND r.day < b.end_day
                      AND r.previous_day >= b.first_day) AS sessions) k
        ON b.end_day > b.first_day + 1
      LEFT JOIN LATERAL (
           SELECT sum(r.micros) AS micros, sum(r.bounces) AS bounces FROM muster.rollup_session_spans r
            WHERE r.value_id = (SELECT id FROM dimension_value) AND r.first_day >= b.first_day AND r.first_day < b.end_day
              AND r.last_day < b.end_day) p
        ON b.first_day IS NOT NULL AND b.number <= 0
), total AS (
    SELECT c.number, json_build_object(
               'events', c.events, 'users', c.users, 'sessions', c.sessions, 'new_users', n.users,
               'average_session_seconds', c.micros / 1e6 / c.sessions, 'bounce_rate', c.bounces::double precision / c.sessions,
               'events_per_session', c.events::double precision / c.sessions) AS found
      FROM counted c JOIN new_user n ON n.number = c.number WHERE c.sessions > 0
), broken_down AS MATERIALIZED (
    SELECT v.value, max(v.value_id) AS value_id, sum(v.events) AS events
      FROM (SELECT r.value, NULL::integer AS value_id, count(*) AS events FROM recent r
             WHERE r.number = 0 AND %(breakdown)s::text IS NOT NULL GROUP BY r.value
            UNION ALL
            SELECT s.value, s.id, sum(r.events)
              FROM bound b JOIN muster.rollup_dimensions d ON d.project_id = %(project_id)s
               AND d.name = %(breakdown)s::text
              JOIN muster.rollup_days r ON r.dimension_id = d.id AND r.day >= b.first_day AND r.day < b.end_day
              JOIN muster.rollup_dimension_values s ON s.id = r.value_id
             WHERE b.number = 0 GROUP BY s.value, s.id HAVING sum(r.events) > 0
            UNION ALL
            SELECT u.user_id, NULL, sum(u.events)
              FROM bound b JOIN muster.rollup_user_days u ON u.project_id = %(project_id)s AND u.day >= b.first_day AND u.day < b.end_day
             WHERE b.number = 0 AND %(breakdown)s::text = 'userId' GROUP BY u.user_id) v
     GROUP BY v.value ORDER BY 3 DESC, 1 LIMIT %(limit)s
), breakdown AS (
    SELECT v.value, v.events, CASE WHEN %(breakdown)s::text = 'userId' THEN (v.value IS NOT NULL)::integer ELSE
               coalesce(d.users, 0) - coalesce(k.users, 0) + (
               SELECT count(*) FROM (SELECT DISTINCT r.user_id FROM recent r
                                      WHERE r.number = 0 AND r.user_id IS NOT NULL AND r.value IS NOT DISTINCT FROM v.value) r
                WHERE b.first_day IS NULL OR (
                      SELECT u.last_days[array_position(u.value_ids, v.value_id)] >= b.first_day FROM muster.rollup_user_days u
                       WHERE u.project_id = %(project_id)s AND u.user_id = r.user_id AND u.day < b.end_day
                       ORDER BY u.day DESC LIMIT 1) IS NOT TRUE) END AS users,
           CASE WHEN %(breakdown)s::text = 'userId' AND v.value IS NOT NULL THEN (
               SELECT count(*) FROM (
                   SELECT r.session_id FROM recent r WHERE r.number = 0 AND r.user_id = v.value
                   UNION
                   SELECT s.session_id FROM muster.rollup_user_sessions s
                    WHERE s.project_id = %(project_id)s AND s.user_id = v.value AND s.first_day < b.end_day AND s.last_day >= b.first_day
                      AND ((s.first_day >= b.first_day AND s.last_day < b.end_day) OR muster.has_rolled_up_event(
                          %(project_id)s, %(watermark)s, s.session_id, b.inner_from, b.inner_to, 'userId', v.value))) s)
           ELSE coalesce(d.sessions, 0) - coalesce(k.sessions, 0) + (
               SELECT count(*) FROM (SELECT DISTINCT r.session_id FROM recent r
                                      WHERE r.number = 0 AND r.value IS NOT DISTINCT FROM v.value) r
                WHERE b.first_day IS NULL OR v.value_id IS NULL OR NOT (
                      EXISTS (SELECT FROM muster.rollup_session_days l
                               WHERE l.project_id = %(project_id)s AND l.session_id = r.session_id AND l.value_id = v.value_id
                                 AND l.day >= b.first_day AND l.day < b.end_day)
                      OR muster.has_rolled_up_event(%(project_id)s, %(watermark)s, r.session_id, b.inner_from, b.inner_to,
                                                    %(breakdown)s, v.value))) END AS sessions
      FROM broken_down v CROSS JOIN (SELECT * FROM bound WHERE number = 0) b
      LEFT JOIN LATERAL (
           SELECT sum(r.users) AS users, sum(r.sessions) AS sessions
             FROM muster.rollup_days r WHERE r.value_id = v.value_id AND r.day >= b.first_day AND r.day < b.end_day) d ON true
      LEFT JOIN LATERAL (
           SELECT (SELECT sum(r.entities)
                     FROM generate_series(1, b.end_day - b.first_day - 1) g
                    CROSS JOIN LATERAL (
                          SELECT sum(r.entities) AS entities FROM muster.rollup_returning_activity r
                           WHERE r.value_id = v.value_id AND r.kind = 'u' AND r.day = b.first_day + g
                             AND r.previous_day >= b.first_day) r) AS users,
                  (SELECT sum(r.entities) FROM muster.rollup_returning_activity r
                    WHERE r.value_id = v.value_id AND r.kind = 's' AND r.day > b.first_day AND r.day < b.end_day
                      AND r.previous_day >= b.first_day) AS sessions) k ON true
), counted_ever AS MATERIALIZED (
    SELECT coalesce(sum(r.events), 0) AS events, true AS is_all FROM muster.rollup_days r
     WHERE %(is_rolled_up)s AND r.value_id = (SELECT id FROM dimension_value) HAVING %(is_rolled_up)s
    UNION ALL
    SELECT f.events, f.is_all
      FROM muster.count_rolled_up_events(%(project_id)s, %(watermark)s, %(filter)s) f WHERE NOT %(is_rolled_up)s
), whole AS (
    SELECT (SELECT count(*) FROM unrolled WHERE matches) + e.events AS events, e.is_all FROM counted_ever e
)
SELECT now() AS as_of, (SELECT watermark FROM state) AS watermark, (SELECT count(*) FROM unrolled) AS unrolled,
       (SELECT found FROM total WHERE number = 0) AS totals,
       (SELECT found FROM total WHERE number = -1) AS previous,
       (SELECT coalesce(json_agg(json_build_object('bucket', number, 'events', events, 'users', users, 'sessions', sessions)), '[]')
          FROM counted WHERE number > 0 AND events > 0) AS series,
       CASE WHEN %(is_rolled_up)s AND %(breakdown)s::text = 'participantType' THEN (
           SELECT coalesce(json_agg(b ORDER BY b.events DESC, b.value), '[]')
             FROM counted c CROSS JOIN LATERAL muster.participant_breakdown(
                  %(project_id)s, %(watermark)s, c.from_at, c.to_at, c.events::bigint, c.users::bigint, c.sessions::bigint, %(limit)s) b
            WHERE c.number = 0)
       ELSE (SELECT coalesce(json_agg(b ORDER BY b.events DESC, b.value), '[]') FROM breakdown b) END AS breakdown,
       muster.count_active_users(%(project_id)s, %(filter)s) AS active_users_now,
       -- If only the latest months were counted, they may have fewer events than the range.
       greatest((SELECT events FROM whole) - coalesce((SELECT events FROM counted WHERE number = 0), 0),
                CASE WHEN NOT (SELECT is_all FROM whole) THEN 0 END)::bigint AS rows_outside_range,
       (SELECT is_all FROM whole) AS rows_outside_range_is_exact,
       (SELECT coalesce(sum(r.events), 0)::bigint FROM muster.analytics_rejections r
         WHERE r.replayed_at IS NULL AND r.project_id = %(project_id)s AND coalesce(r.occurred_at, r.received_at) >= %(start)s
           AND coalesce(r.occurred_at, r.received_at) < %(end)s) AS rejected_in_range,
       (SELECT count(*) FROM muster.analytics_ignored i
         WHERE i.project_id = %(project_id)s AND i.occurred_at >= %(start)s AND i.occurred_at < %(end)s) AS ignored_in_range,
       greatest((SELECT last_at FROM state), (SELECT max(occurred_at) FROM unrolled)) AS last_event_at
