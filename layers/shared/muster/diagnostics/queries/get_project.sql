SELECT id, name, time_zone, consent_mode, rollup_keys FROM muster.projects WHERE id = %(project_id)s
