-- The partitions that no project keeps, oldest first, without those that ensure_partitions would create again.
CREATE OR REPLACE FUNCTION muster.expired_partitions() RETURNS TABLE (name text, from_at timestamptz, to_at timestamptz, project_ids uuid[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
BEGIN
    FOR name, from_at, to_at IN
        SELECT m.name, m.month AT TIME ZONE 'UTC', (m.month + interval '1 month') AT TIME ZONE 'UTC'
          FROM (SELECT p.relname::text AS name, to_date(right(p.relname, 7), 'YYYY_MM')::timestamp AS month
                  FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhrelid
                 WHERE h.inhparent = 'muster.analytics_events'::regclass AND p.relname ~ '^analytics_events_[0-9]{4}_[0-9]{2}$') m
         WHERE m.month < date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month' ORDER BY m.month
    LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM muster.retention_limits() k WHERE k.keep_from >= to_at);
        -- Jump from project to project in the index instead of reading all events.
        EXECUTE format($q$
            WITH RECURSIVE found AS (
                (SELECT e.project_id FROM muster.%1$I e ORDER BY e.project_id LIMIT 1)
                UNION ALL
                SELECT (SELECT e.project_id FROM muster.%1$I e WHERE e.project_id > f.project_id ORDER BY e.project_id LIMIT 1)
                  FROM found f WHERE f.project_id IS NOT NULL)
            SELECT coalesce(array_agg(project_id ORDER BY project_id), '{}') FROM found WHERE project_id IS NOT NULL $q$, name) INTO project_ids;
        CONTINUE WHEN EXISTS (SELECT FROM unnest(project_ids) p(id)
                               WHERE NOT EXISTS (SELECT FROM muster.retention_limits() k WHERE k.project_id = p.id AND k.keep_from >= to_at));
        RETURN NEXT;
    END LOOP;
END
$$;

GRANT EXECUTE ON FUNCTION muster.expired_partitions TO muster_admin;
