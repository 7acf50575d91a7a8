"""One request and one response of API Gateway."""
