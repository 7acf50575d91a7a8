"""Consent and data subjects: recording decisions, showing and erasing a user's data."""
