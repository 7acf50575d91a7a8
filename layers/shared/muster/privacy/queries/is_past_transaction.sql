SELECT pg_snapshot_xmin(pg_current_snapshot()) >= %(horizon)s::text::xid8
