-- The connections to all databases. pg_stat_activity would show this role only its own.
SELECT sum(numbackends)::integer, current_setting('max_connections')::integer FROM pg_stat_database
