-- Triggers, rules and policies on Muster's tables that the migrations have not made: their triggers call functions of Muster's.
SELECT format('DROP TRIGGER %I ON %s;', t.tgname, t.tgrelid::regclass)
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
 WHERE c.relnamespace = 'muster'::regnamespace AND NOT c.relispartition AND NOT t.tgisinternal
   AND p.pronamespace <> 'muster'::regnamespace
UNION ALL
SELECT format('DROP RULE %I ON %s;', r.rulename, r.ev_class::regclass)
  FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
 WHERE c.relnamespace = 'muster'::regnamespace AND r.rulename <> '_RETURN'
UNION ALL
SELECT format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY;', c.oid::regclass)
  FROM pg_class c WHERE c.relnamespace = 'muster'::regnamespace AND c.relrowsecurity
