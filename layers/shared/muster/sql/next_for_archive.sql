SELECT from_xid, to_xid, is_last FROM muster.next_for_archive(%(most)s)
