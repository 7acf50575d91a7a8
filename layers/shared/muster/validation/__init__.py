"""What a client may send, and the details that explain what is invalid."""
