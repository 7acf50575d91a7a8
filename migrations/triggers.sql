-- The triggers, applied after the functions.

CREATE OR REPLACE TRIGGER note_decisions AFTER INSERT ON muster.analytics_consent
    REFERENCING NEW TABLE AS decisions FOR EACH STATEMENT EXECUTE FUNCTION muster.note_decisions();

CREATE OR REPLACE TRIGGER keep_window_within_retention BEFORE INSERT OR UPDATE OF event_window_days, retention_days ON muster.projects
    FOR EACH ROW EXECUTE FUNCTION muster.keep_window_within_retention();
