"""Tokens of pilot studies."""
