-- Copies the settings of a key's project to the key, for a trigger.
CREATE OR REPLACE FUNCTION muster.copy_settings_to_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
BEGIN
    -- The lock makes a change of the project wait for a key that is being created, so that the change includes the key.
    -- An admin key may send older events, down to 1970. The full path checks those older than 40 years.
    SELECT CASE WHEN NEW.kind = 'admin' THEN interval '14610 days' ELSE make_interval(days => p.event_window_days) END,
           p.redacted_keys, p.consent_mode = 'opt_in' OR p.has_decisions OR p.has_erasures OR p.identifies_backwards
      INTO NEW.event_window, NEW.redacted_keys, NEW.may_need_full_path
      FROM muster.projects p WHERE p.id = NEW.project_id FOR SHARE;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = format('there is no project %s', NEW.project_id);
    END IF;
    RETURN NEW;
END
$$;
