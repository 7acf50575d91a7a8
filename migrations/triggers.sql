-- The triggers, applied after the functions.

CREATE OR REPLACE TRIGGER note_decisions AFTER INSERT ON muster.analytics_consent
    REFERENCING NEW TABLE AS decisions FOR EACH STATEMENT EXECUTE FUNCTION muster.note_decisions();

CREATE OR REPLACE TRIGGER keep_window_within_retention BEFORE INSERT OR UPDATE OF event_window_days, retention_days ON muster.projects
    FOR EACH ROW EXECUTE FUNCTION muster.keep_window_within_retention();

CREATE OR REPLACE TRIGGER copy_settings_to_key BEFORE INSERT OR UPDATE OF project_id, kind ON muster.api_keys
    FOR EACH ROW EXECUTE FUNCTION muster.copy_settings_to_key();

-- A change of retention_days may change event_window_days.
CREATE OR REPLACE TRIGGER refresh_keys AFTER UPDATE OF event_window_days, redacted_keys, consent_mode, has_decisions, has_erasures,
    identifies_backwards, retention_days ON muster.projects
    FOR EACH ROW EXECUTE FUNCTION muster.refresh_keys();
