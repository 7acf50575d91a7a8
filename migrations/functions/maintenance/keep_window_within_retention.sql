-- Keeps a project from accepting events that are older than it keeps them. What data retention has deleted would come back with the
-- next retry, and a batch that is sent twice would be stored twice.
CREATE OR REPLACE FUNCTION muster.keep_window_within_retention() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, muster, pg_temp AS $$
BEGIN
    NEW.event_window_days := least(NEW.event_window_days, NEW.retention_days); -- null keeps events for ever
    RETURN NEW;
END
$$;
