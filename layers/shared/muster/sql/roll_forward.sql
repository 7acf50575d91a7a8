SELECT folded, is_complete FROM muster.roll_forward(%(project_id)s, %(most)s)
