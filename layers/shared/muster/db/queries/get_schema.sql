-- The objects of the schema muster, in the same form on PostgreSQL 15 to 18. Partitions are only named. NOT NULL constraints are
-- listed with their columns. A function is its owner and the SHA-256 of its definition.
WITH relation AS (
    SELECT c.* FROM pg_class c
     WHERE c.relnamespace = to_regnamespace('muster') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
), routine AS (
    SELECT p.*, p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS signature
      FROM pg_proc p WHERE p.pronamespace = to_regnamespace('muster')
), granted AS (
    SELECT 'SCHEMA muster' AS object, a.* FROM pg_namespace n, aclexplode(n.nspacl) a
     WHERE n.nspname = 'muster' AND a.grantee <> n.nspowner
    UNION ALL
    SELECT 'TABLE muster.' || c.relname, a.* FROM relation c, aclexplode(c.relacl) a WHERE a.grantee <> c.relowner
    UNION ALL
    SELECT 'TABLE muster.' || c.relname || ' (' || t.attname || ')', a.*
      FROM relation c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a WHERE a.grantee <> c.relowner
    UNION ALL
    SELECT 'FUNCTION muster.' || p.signature, a.*
      FROM routine p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee <> p.proowner
)
SELECT json_build_object(
    -- is_rds_iam is null outside RDS.
    'roles', (
        SELECT coalesce(json_object_agg(r.rolname, json_build_object(
                   'login', r.rolcanlogin,
                   'settings', (SELECT coalesce(json_object_agg(split_part(s, '=', 1), substr(s, strpos(s, '=') + 1) ORDER BY s), '{}')
                                  FROM pg_db_role_setting d, unnest(d.setconfig) s WHERE d.setrole = r.oid AND d.setdatabase = 0),
                   'is_rds_iam', (SELECT pg_has_role(r.oid, i.oid, 'MEMBER') FROM pg_roles i WHERE i.rolname = 'rds_iam'))
                   ORDER BY r.rolname), '{}')
          FROM pg_roles r WHERE r.rolname IN ('muster_owner', 'muster_ingest', 'muster_people', 'muster_reader', 'muster_admin')),
    'schema_owner', (SELECT n.nspowner::regrole FROM pg_namespace n WHERE n.nspname = 'muster'),
    'tables', (
        SELECT coalesce(json_object_agg(c.relname, json_build_object(
                   'owner', c.relowner::regrole, 'partitioned', pg_get_partkeydef(c.oid), 'options', c.reloptions,
                   'columns', (
                       SELECT json_agg(json_build_object(
                                  'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
                                  'default', pg_get_expr(d.adbin, d.adrelid), 'identity', nullif(a.attidentity, ''))
                              ORDER BY a.attnum)
                         FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
                   ORDER BY c.oid), '{}')
          FROM relation c),
    'constraints', (
        SELECT coalesce(json_object_agg(c.relname || '.' || k.conname, pg_get_constraintdef(k.oid)
                   ORDER BY k.contype = 'f', c.oid, k.conname), '{}')
          FROM pg_constraint k JOIN relation c ON c.oid = k.conrelid WHERE k.contype IN ('p', 'u', 'c', 'f', 'x')),
    'indexes', (
        SELECT coalesce(json_object_agg(c.relname || '.' || i.relname,
                   CASE WHEN x.indisvalid THEN '' ELSE '/* invalid */ ' END || replace(pg_get_indexdef(i.oid), ' ON ONLY ', ' ON ')
                   ORDER BY i.oid), '{}')
          FROM pg_index x JOIN relation c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
         WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.oid AND k.contype IN ('p', 'u', 'x'))),
    'functions', (
        SELECT coalesce(json_object_agg(p.signature,
                   json_build_object('owner', p.proowner::regrole,
                                     'sha256', encode(sha256(convert_to(pg_get_functiondef(p.oid), 'UTF8')), 'hex'))
                   ORDER BY p.proname, p.oid), '{}')
          FROM routine p WHERE p.prokind = 'f'),
    'triggers', (
        SELECT coalesce(json_object_agg(c.relname || '.' || t.tgname,
                   CASE t.tgenabled WHEN 'O' THEN '' ELSE '/* disabled */ ' END || pg_get_triggerdef(t.oid)
                   ORDER BY c.relname, t.tgname), '{}')
          FROM pg_trigger t JOIN relation c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal),
    'grants', (
        SELECT coalesce(json_agg(json_build_array(g.object, g.privilege_type,
                   CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END)
                   ORDER BY g.object, g.privilege_type, g.grantee::regrole::text), '[]')
          FROM granted g),
    'partitions', (
        SELECT coalesce(json_agg(c.relname ORDER BY c.relname), '[]')
          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = to_regclass('muster.analytics_events')))
