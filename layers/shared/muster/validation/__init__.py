"""What a client may send, and the names of what it may not."""
