"""One HTTP client for all tests, because each new client reads all certificates, which takes 40 ms."""

import httpx

# A server may restart on the same port, so no connection is kept.
http = httpx.Client(trust_env=False, timeout=240, limits=httpx.Limits(max_keepalive_connections=0))
