-- Rules and policies on Muster's tables. The migrations create none, and they can keep an event out.
SELECT format('DROP RULE %I ON %s;', r.rulename, r.ev_class::regclass)
  FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
 WHERE c.relnamespace = 'muster'::regnamespace AND r.rulename <> '_RETURN'
UNION ALL
SELECT format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY;', c.oid::regclass)
  FROM pg_class c WHERE c.relnamespace = 'muster'::regnamespace AND c.relrowsecurity
