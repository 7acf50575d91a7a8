"""Takes batches of events: validates them, and stores or queues them."""
