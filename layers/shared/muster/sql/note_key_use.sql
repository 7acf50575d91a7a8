SELECT muster.note_key_use(%(key_hash)s)
