"""Muster: every event, present and accounted for."""
