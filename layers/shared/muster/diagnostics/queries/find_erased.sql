SELECT EXISTS (SELECT FROM muster.erased_events e
        WHERE e.project_id = %(project_id)s AND e.event_hash = muster.hash_subject(%(project_id)s, %(event_text)s)) AS erased
