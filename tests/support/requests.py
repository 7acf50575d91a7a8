"""One request for each route of the template, for every way of running the API."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from muster.http.request import Request

SESSION_ID = str(uuid.uuid4())
BUILT = Path(__file__).resolve().parents[2] / "functions" / "web" / "static"


@dataclass(frozen=True)
class Ask:
    """A request and a part of its expected response."""

    kind: str | None
    """The kind of key; None sends none."""
    path: dict[str, str] = field(default_factory=dict)
    body: Any = None
    expected: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    query: str = ""


def a_request(
    query: Mapping[str, Any] | None = None, *, path: Mapping[str, str] | None = None, body: Any = None
) -> Request:
    """A request as an operation reads it; `body` is sent as JSON."""
    event = {"requestContext": {"http": {"method": "GET"}}, "rawPath": "/"}
    event["rawQueryString"] = urlencode(query or {}, doseq=True)
    if body is not None:
        event["body"] = json.dumps(body)
    request = Request(event, "test-request")
    request.path_parameters = path or {}
    return request


def new_batch() -> dict[str, Any]:
    """A batch with one event that happens now."""
    now = datetime.now(UTC).isoformat()
    return {"sessionId": SESSION_ID, "events": [{"eventType": "asked", "area": "tests", "timestamp": now, "data": {}}]}


ASKS: dict[str, Ask] = {
    "POST /v1/events": Ask("write", {}, new_batch(), {"status": "committed", "received": 1}),
    "PUT /v1/sessions/{sessionId}": Ask("write", {"sessionId": SESSION_ID}, {}, {"sessionId": SESSION_ID}),
    "GET /v1/sessions/{sessionId}": Ask("read", {"sessionId": SESSION_ID}, None, {"sessionId": SESSION_ID}),
    "PUT /v1/consent": Ask(
        "write", {}, {"sessionId": SESSION_ID, "status": "granted"}, {"status": "granted", "purge": []}
    ),
    "GET /v1/consent": Ask("read", query="userId=nobody", expected={"status": "unknown"}),
    "GET /v1/subjects/{userId}": Ask("admin", {"userId": "nobody"}, None, {"events": []}),
    "DELETE /v1/subjects/{userId}": Ask("admin", {"userId": "nobody"}, None, {"events": 0}),
    "POST /v1/pilot-tokens": Ask("admin", {}, {"participantType": "tester"}, status=201),
    "GET /v1/pilot-tokens": Ask("admin"),
    "DELETE /v1/pilot-tokens/{id}": Ask("admin", {"id": SESSION_ID}, status=404),
    "POST /v1/pilot-tokens/redeem": Ask("write", {}, {"token": "mp_unknown", "userId": "ada"}, status=404),
    "GET /v1/metrics": Ask("read"),
    "GET /v1/metrics/events": Ask("read"),
    "GET /v1/metrics/sessions": Ask("read"),
    "GET /v1/metrics/users/{userId}": Ask("read", {"userId": "nobody"}, status=404),
    "POST /v1/metrics/funnel": Ask("read", {}, {"steps": [{"eventType": "asked"}, {"eventType": "answered"}]}),
    "GET /v1/metrics/retention": Ask("read", expected={"period": "day"}),
    "GET /v1/metrics/export": Ask("read"),
    "GET /v1/diagnostics": Ask("read", expected={"mode": "direct"}),
    "GET /v1/diagnostics/events/{eventId}": Ask("read", {"eventId": SESSION_ID}, None, {"found": False}),
    "GET /v1/diagnostics/sessions/{sessionId}": Ask(
        "read", {"sessionId": SESSION_ID}, None, {"sessionId": SESSION_ID, "dropped": 0}
    ),
    "GET /v1/diagnostics/rejections": Ask("read", expected={"rejections": [], "nextCursor": None}),
    "POST /v1/diagnostics/rejections/replay": Ask("admin", expected={"replayed": 0, "stillRejected": 0}),
    "OPTIONS /{proxy+}": Ask(None, {"proxy+": "v1/events"}, status=204),
    "GET /healthz": Ask(None, expected={"status": "ok"}),
    # The dashboard or, without Node, instructions for building it.
    "GET /": Ask(None),
    "GET /assets/{name}": Ask(None, {"name": "none.js"}, status=404),
    "GET /muster.js": Ask(None, status=200 if (BUILT / "muster.js").exists() else 404),
    "GET /openapi.json": Ask(None, expected={"openapi": "3.1.0"}),
}
