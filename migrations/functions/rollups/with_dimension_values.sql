-- The groups with the ids of their dimension values; new dimension values are created. The returned groups have no type, area and
-- keys: only the dimension values need them. The caller has locked the project's state.
CREATE OR REPLACE FUNCTION muster.with_dimension_values(p_state muster.rollup_state, p_groups muster.event_group[]) RETURNS muster.event_group[]
LANGUAGE plpgsql SET work_mem = '64MB' AS $$
DECLARE
    v_groups muster.event_group[];
    v_names text[];
    v_values text[];
BEGIN
    IF p_groups IS NULL THEN
        RETURN '{}';
    END IF;
    SELECT array_agg(v.name), array_agg(v.value) INTO v_names, v_values
      FROM (SELECT 'all' AS name, NULL AS value
            UNION ALL SELECT 'userId', NULL
            UNION ALL SELECT DISTINCT 'eventType', event_type FROM unnest(p_groups)
            UNION ALL SELECT DISTINCT 'area', area FROM unnest(p_groups)
            UNION ALL SELECT DISTINCT 'data.' || k.key, k.value
              FROM unnest(p_groups) g, unnest(p_state.keys, g.key_values) k(key, value) WHERE p_state.keys <> '{}') v;
    INSERT INTO muster.rollup_dimensions (project_id, name)
    SELECT DISTINCT p_state.project_id, n FROM unnest(v_names) n
     WHERE NOT EXISTS (SELECT FROM muster.rollup_dimensions d WHERE d.project_id = p_state.project_id AND d.name = n);
    INSERT INTO muster.rollup_dimension_values (dimension_id, value_hash, value)
    SELECT d.id, muster.hash_text(v.value), v.value
      FROM unnest(v_names, v_values) v(name, value)
      JOIN muster.rollup_dimensions d ON d.project_id = p_state.project_id AND d.name = v.name
     WHERE NOT EXISTS (SELECT FROM muster.rollup_dimension_values s WHERE s.dimension_id = d.id AND s.value_hash = muster.hash_text(v.value));
    WITH dimension_value AS MATERIALIZED (
        SELECT v.name, v.value, s.id
          FROM unnest(v_names, v_values) v(name, value)
          JOIN muster.rollup_dimensions d ON d.project_id = p_state.project_id AND d.name = v.name
          JOIN muster.rollup_dimension_values s ON s.dimension_id = d.id AND s.value_hash = muster.hash_text(v.value)
    ), fixed AS MATERIALIZED (
        SELECT max(id) FILTER (WHERE name = 'all') AS all_id, max(id) FILTER (WHERE name = 'userId') AS anonymous_id FROM dimension_value
    )
    SELECT array_agg(ROW(g.session_id, g.user_id, NULL, NULL, NULL, g.day, g.events, g.first_at, g.last_at,
               CASE WHEN g.user_id IS NULL THEN ARRAY[f.all_id, t.id, a.id, f.anonymous_id] ELSE ARRAY[f.all_id, t.id, a.id] END
               || CASE WHEN p_state.keys = '{}' THEN '{}' ELSE ARRAY(
                      SELECT s.id FROM unnest(p_state.keys, g.key_values) k(key, value)
                        JOIN dimension_value s ON s.name = 'data.' || k.key AND s.value IS NOT DISTINCT FROM k.value) END)::muster.event_group)
      INTO v_groups
      FROM unnest(p_groups) g CROSS JOIN fixed f
      JOIN dimension_value t ON t.name = 'eventType' AND t.value = g.event_type
      JOIN dimension_value a ON a.name = 'area' AND a.value = g.area;
    RETURN v_groups;
END
$$;
