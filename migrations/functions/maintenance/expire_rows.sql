-- Deletes a project's expired sessions without events, rejections and ignored events; at most p_most of each. Returns how many.
CREATE OR REPLACE FUNCTION muster.expire_rows(p_project_id uuid, p_most integer, OUT sessions bigint, OUT rejections bigint, OUT ignored bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_keep_from CONSTANT timestamptz := (SELECT k.keep_from FROM muster.retention_limits() k WHERE k.project_id = p_project_id);
    v_ids uuid[];
BEGIN
    -- No index helps here: maintaining it would cost every batch more than one scan a day.
    v_ids := ARRAY(SELECT s.id FROM muster.analytics_sessions s
                    WHERE s.project_id = p_project_id AND s.last_seen_at < v_keep_from
                      AND NOT EXISTS (SELECT FROM muster.analytics_events e
                                       WHERE e.project_id = s.project_id AND e.session_id = s.id
                                         AND e.occurred_at BETWEEN s.started_at AND s.last_seen_at) LIMIT p_most);
    -- Lock them, then check again, because an import may have just stored an event.
    PERFORM FROM muster.analytics_sessions WHERE project_id = p_project_id AND id = ANY (v_ids) ORDER BY id FOR UPDATE;
    DELETE FROM muster.analytics_sessions s
     WHERE s.project_id = p_project_id AND s.id = ANY (v_ids) AND s.last_seen_at < v_keep_from
       AND NOT EXISTS (SELECT FROM muster.analytics_events e
                        WHERE e.project_id = s.project_id AND e.session_id = s.id
                          AND e.occurred_at BETWEEN s.started_at AND s.last_seen_at);
    GET DIAGNOSTICS sessions = ROW_COUNT;
    DELETE FROM muster.analytics_rejections WHERE id IN (
        SELECT r.id FROM muster.analytics_rejections r
         WHERE r.project_id = p_project_id AND r.received_at < v_keep_from AND r.last_received_at < v_keep_from
         ORDER BY r.id LIMIT p_most);
    GET DIAGNOSTICS rejections = ROW_COUNT;
    DELETE FROM muster.analytics_ignored i WHERE i.ctid = ANY (ARRAY(
        SELECT o.ctid FROM muster.analytics_ignored o WHERE o.project_id = p_project_id AND o.occurred_at < v_keep_from LIMIT p_most));
    GET DIAGNOSTICS ignored = ROW_COUNT;
END
$$;

GRANT EXECUTE ON FUNCTION muster.expire_rows TO muster_admin;
