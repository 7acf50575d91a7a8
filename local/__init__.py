"""Runs Muster on one machine: the API, its database, and the commands behind make."""
