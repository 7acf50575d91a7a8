SELECT sessions, rejections, ignored FROM muster.expire_rows(%(project_id)s, %(most)s)
