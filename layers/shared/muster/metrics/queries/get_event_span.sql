-- The times of a project's first and last event, from the events.
SELECT
       (SELECT min(occurred_at) FROM muster.analytics_events WHERE project_id = %(project_id)s),
       (SELECT max(occurred_at) FROM muster.analytics_events WHERE project_id = %(project_id)s)
