-- Stores one event. Returns false if it was stored before, or if a trigger that is not Muster's skipped it.
CREATE OR REPLACE FUNCTION muster.store_event(p_project_id uuid, p_session_id uuid, p_id uuid, p_occurred_at timestamptz,
    p_received_at timestamptz, p_batch_id uuid, p_user_id text, p_event_type text, p_area text, p_data jsonb) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, received_at, batch_id, user_id, event_type, area, data)
    VALUES (p_project_id, p_session_id, p_id, p_occurred_at, p_received_at, p_batch_id, p_user_id, p_event_type, p_area, p_data)
    ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$$;
