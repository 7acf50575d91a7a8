"""Diagnostics: the checks, the trace of an event, and the delivery report of a session."""
