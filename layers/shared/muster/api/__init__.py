"""The HTTP layer: routes, authentication, CORS, logins and static files."""
