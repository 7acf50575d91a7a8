"""Consent, and the rights of data subjects."""
