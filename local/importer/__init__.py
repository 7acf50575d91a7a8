"""Imports the access log of a web server."""
