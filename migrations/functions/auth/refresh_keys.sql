-- Copies a project's changed settings to its keys, for a trigger.
CREATE OR REPLACE FUNCTION muster.refresh_keys() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
BEGIN
    UPDATE muster.api_keys SET project_id = NEW.id WHERE project_id = NEW.id; -- fires copy_settings_to_key
    RETURN NULL;
END
$$;
