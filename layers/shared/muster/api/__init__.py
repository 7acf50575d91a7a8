"""HTTP in front of the service: routes, keys, origins, logins, files."""
