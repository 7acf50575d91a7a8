-- Copies the settings of a key's project to the key, for a trigger.
CREATE OR REPLACE FUNCTION muster.copy_settings_to_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
BEGIN
    -- The lock makes a change of the project wait for a key that is being created, so that the change includes the key.
    SELECT p.event_window_days, p.redacted_keys,
           p.consent_mode = 'opt_in' OR p.has_decisions OR p.has_erasures OR p.identifies_backwards
      INTO NEW.event_window_days, NEW.redacted_keys, NEW.may_need_full_path
      FROM muster.projects p WHERE p.id = NEW.project_id FOR SHARE;
    RETURN NEW;
END
$$;
