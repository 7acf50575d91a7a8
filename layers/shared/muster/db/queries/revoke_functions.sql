-- Each function file grants its permissions again, so a grant that was removed from a file is also removed here.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA muster FROM PUBLIC, muster_ingest, muster_people, muster_reader, muster_admin
