-- Whether somebody has decided anything in the project: where nobody has, ingest need not look for what a batch's people decided.
ALTER TABLE muster.projects ADD COLUMN has_decisions boolean NOT NULL DEFAULT false;
CREATE FUNCTION muster.note_decisions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
BEGIN
    UPDATE muster.projects p SET has_decisions = true
     WHERE NOT p.has_decisions AND p.id IN (SELECT d.project_id FROM decisions d);
    RETURN NULL;
END
$$;
CREATE TRIGGER note_decisions AFTER INSERT ON muster.analytics_consent
    REFERENCING NEW TABLE AS decisions FOR EACH STATEMENT EXECUTE FUNCTION muster.note_decisions();
UPDATE muster.projects p SET has_decisions = true WHERE EXISTS (SELECT FROM muster.analytics_consent c WHERE c.project_id = p.id);
