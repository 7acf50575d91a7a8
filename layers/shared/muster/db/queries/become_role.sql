-- Acts as a role, with the settings of a login as that role.
SELECT set_config('role', %(role)s, false), set_config('jit', 'off', false),
       (SELECT array_agg(set_config(split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1), false))
          FROM pg_db_role_setting, unnest(setconfig) AS setting
         WHERE setrole = to_regrole(%(role)s)
           AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())))
