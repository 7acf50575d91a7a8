SELECT current_setting('server_version_num')::integer, pg_is_in_recovery(), current_setting('transaction_read_only')::boolean
