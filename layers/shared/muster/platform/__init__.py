"""Errors, settings, logging and the AWS runtime."""
