-- Marks the projects that have decisions, so that ingest looks for decisions only there.
CREATE OR REPLACE FUNCTION muster.note_decisions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
BEGIN
    UPDATE muster.projects p SET has_decisions = true
     WHERE NOT p.has_decisions AND p.id IN (SELECT d.project_id FROM decisions d);
    RETURN NULL;
END
$$;
