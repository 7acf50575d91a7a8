UPDATE muster.archive_state SET watermark = %(to_xid)s, planned = NULL, events = events + %(events)s, archived_at = now()
 WHERE watermark = %(from_xid)s AND planned = %(to_xid)s
