SELECT muster.trim_rejections(%(days)s, %(most)s, %(bytes)s, %(step)s)
