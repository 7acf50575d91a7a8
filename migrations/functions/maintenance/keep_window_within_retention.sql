-- Limits a project's event window to its data retention. Otherwise a retry would store events again that data retention has deleted.
CREATE OR REPLACE FUNCTION muster.keep_window_within_retention() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, muster, pg_temp AS $$
BEGIN
    NEW.event_window_days := least(NEW.event_window_days, NEW.retention_days); -- null: events are kept forever
    RETURN NEW;
END
$$;
