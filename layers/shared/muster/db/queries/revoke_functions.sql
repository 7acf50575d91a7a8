-- Each function's file grants again what it needs, so a grant that left a file is gone from the database too.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA muster FROM PUBLIC, muster_ingest, muster_people, muster_reader, muster_admin
