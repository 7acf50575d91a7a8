"""The connection, the statements, the migrations and the schema check."""
