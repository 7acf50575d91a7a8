-- The statements that remove rules and row level security from Muster's tables. The migrations create neither, and both can block
-- events.
SELECT format('DROP RULE %I ON %s;', r.rulename, r.ev_class::regclass)
  FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
 WHERE c.relnamespace = 'muster'::regnamespace AND r.rulename <> '_RETURN'
UNION ALL
SELECT format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY;', c.oid::regclass)
  FROM pg_class c WHERE c.relnamespace = 'muster'::regnamespace AND c.relrowsecurity
