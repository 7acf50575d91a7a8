"""Ingest: validates batches of events, and stores or queues them."""
