-- A project takes no event that is older than it keeps: what retention has taken away would come again with the next retry, and a
-- batch that is sent twice would be stored twice.

CREATE FUNCTION muster.keep_window_within_retention() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, muster, pg_temp AS $$
BEGIN
    NEW.event_window_days := least(NEW.event_window_days, NEW.retention_days); -- null is for ever
    RETURN NEW;
END
$$;
CREATE TRIGGER keep_window_within_retention BEFORE INSERT OR UPDATE OF event_window_days, retention_days ON muster.projects
    FOR EACH ROW EXECUTE FUNCTION muster.keep_window_within_retention();
UPDATE muster.projects SET event_window_days = retention_days WHERE event_window_days > retention_days;
