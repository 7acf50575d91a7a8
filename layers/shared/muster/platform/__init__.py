"""Errors, settings, logging and what AWS gives a function."""
