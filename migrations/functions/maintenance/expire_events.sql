-- Deletes a project's days before p_before that are older than its data retention. Returns how many rows were deleted.
CREATE OR REPLACE FUNCTION muster.expire_events(p_project_id uuid, p_before date, OUT events bigint, OUT sessions bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_ids uuid[];
    v_counts bigint[];
BEGIN
    SELECT f.events, f.sessions, f.session_ids, f.counts INTO events, sessions, v_ids, v_counts
      FROM muster.delete_days(p_project_id, p_before, NULL, NULL, NULL) f;
    PERFORM muster.reduce_event_counts(p_project_id, v_ids, v_counts);
END
$$;

GRANT EXECUTE ON FUNCTION muster.expire_events TO muster_admin;
