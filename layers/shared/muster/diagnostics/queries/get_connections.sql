-- Of all databases; pg_stat_activity would show a reader its own alone.
SELECT sum(numbackends)::integer, current_setting('max_connections')::integer FROM pg_stat_database
