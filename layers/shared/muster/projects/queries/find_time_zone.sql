SELECT name FROM pg_timezone_names WHERE name = %(name)s LIMIT 1
