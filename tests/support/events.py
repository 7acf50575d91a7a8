"""Makes payload 2.0 events for tests, with the local server's own translation."""

import json
from collections.abc import Mapping
from typing import Any

from local.gateway.http_api import Request, to_event
from local.sam.template import Route


def http_event(
    route: str,
    *,
    path: str | None = None,
    parameters: Mapping[str, str] | None = None,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    json_body: Any = None,
) -> dict[str, Any]:
    """The event of a request to a route, e.g. `GET /v1/sessions/{sessionId}`."""
    method, _, pattern = route.partition(" ")
    body = b"" if json_body is None else json.dumps(json_body).encode()
    sent = {"host": "localhost", "user-agent": "tests", "content-type": "application/json", **(headers or {})}
    request = Request(method, (path or pattern).format(**(parameters or {})), query, list(sent.items()), body)
    return to_event(request, Route(method, pattern, "Function"), parameters or {}, request_id="test-request")
