"""A request from API Gateway, and the response to it."""
