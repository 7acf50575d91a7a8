"""Serves Muster with demo data in it."""
