"""What works and what does not, and where an event is."""
