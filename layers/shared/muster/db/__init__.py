"""The connection, the statements, the migrations and the check of the schema."""
