"""`make events`: writes events/*.json for `sam local invoke`, based on the output of `sam local generate-event`.

The name of a file begins with the name of its function. `make invoke` replaces the placeholders WRITE-KEY, READ-KEY and
ADMIN-KEY with the keys of a project. The dates are fixed. The admin key may import old events, so the files do not
expire.
"""

import argparse
import base64
import gzip
import json
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from local.paths import PROJECT
from local.sam.sam_cli import run_sam
from muster.ingest.queue import pack

FOLDER = PROJECT / "events"
SESSION = "3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11"
BATCH: dict[str, Any] = {
    "sessionId": SESSION,
    "userId": "ada",
    "sentAt": "2026-05-17T10:05:05Z",
    "sequence": 1,
    "events": [
        {
            "id": "7a0f3f0e-58a5-4a0c-9a55-0b7b6d0e1f01",
            "eventType": "signed_up",
            "area": "onboarding",
            "timestamp": "2026-05-17T10:05:03Z",
            "data": {"plan": "pilot"},
        },
        {"eventType": "page_view", "area": "home", "timestamp": "2026-05-17T10:05:04Z", "data": {"path": "/"}},
    ],
}
# Requests to this API lack these fields of the generated event.
_ABSENT = ("cookies", "queryStringParameters", "pathParameters", "stageVariables", "body")


@cache
def _generated(service: str, event: str) -> str:
    result = run_sam("local", "generate-event", service, event)
    if result.returncode != 0:
        raise RuntimeError(f"sam local generate-event {service} {event} failed.\n{result.stdout}")
    return result.stdout[result.stdout.index("{") :]


def _request(
    route: str,
    body: Any = None,
    *,
    key: str | None = None,
    path: dict[str, str] | None = None,
    query: str = "",
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The event of a request. Text and bytes are the body as they are; any other value becomes JSON."""
    method, _, pattern = route.partition(" ")
    event: dict[str, Any] = json.loads(_generated("apigateway", "http-api-proxy"))
    for name in _ABSENT:
        event.pop(name)
    for name in ("authentication", "authorizer"):
        event["requestContext"].pop(name)
    raw_path = pattern.format(**(path or {}))
    event |= {"routeKey": route, "rawPath": raw_path, "rawQueryString": query, "isBase64Encoded": False}
    event["requestContext"]["routeKey"] = route
    event["requestContext"]["http"] |= {
        "method": method,
        "path": raw_path,
        "sourceIp": "192.0.2.1",
        "userAgent": "curl/8.5",
    }
    event["headers"] = {"content-type": "application/json", "user-agent": "curl/8.5"}
    if key:
        event["headers"]["authorization"] = f"Bearer {key}"
    event["headers"] |= headers or {}
    if query:
        event["queryStringParameters"] = dict(parse_qsl(query))
    if path:
        event["pathParameters"] = path
    if isinstance(body, bytes):
        event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    elif body is not None:
        event["body"] = body if isinstance(body, str) else json.dumps(body)
    return event


def _messages(*bodies: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(_generated("sqs", "receive-message"))
    (record,) = event["Records"]
    event["Records"] = [
        {**record, "messageId": f"19dd0b57-b21e-4ac1-bd88-01bbb068cb{78 + number}", "body": body}
        for number, body in enumerate(bodies)
    ]
    return event


def _unknown_key() -> str:
    header = {
        "keyHash": "00" * 32, "keyPrefix": "mw_unkno", "requestId": "id", "optsOut": False,
        "batchId": "c7b2d0a4-3a43-4d7c-8f52-6f6f0f2f7d10", "sessionId": SESSION, "agent": [False, None],
        "receivedAt": "2026-05-17T10:05:06+00:00", "count": 1, "firstIndex": 0,
    }  # fmt: skip
    return pack({**header, "body": json.dumps({**BATCH, "events": BATCH["events"][:1]})})


def _mixed() -> dict[str, Any]:
    return {**BATCH, "events": [BATCH["events"][0], {"eventType": "page_view", "timestamp": "yesterday"}]}


_EVENTS = "POST /v1/events"
_PILOT_TOKENS = "/v1/pilot-tokens"
_SESSIONS = "/v1/sessions/{sessionId}"
EVENTS: dict[str, Callable[[], Any]] = {
    "ingest-batch": lambda: _request(_EVENTS, BATCH, key="ADMIN-KEY"),
    "ingest-gzip": lambda: _request(
        _EVENTS,
        gzip.compress(json.dumps(BATCH).encode(), mtime=0),
        key="ADMIN-KEY",
        headers={"content-encoding": "gzip"},
    ),
    "ingest-beacon": lambda: _request(
        _EVENTS, json.dumps(BATCH), query="key=ADMIN-KEY", headers={"content-type": "text/plain;charset=UTF-8"}
    ),
    "ingest-one-bad-event": lambda: _request(_EVENTS, _mixed(), key="ADMIN-KEY"),
    "ingest-too-old": lambda: _request(
        _EVENTS, {**BATCH, "events": [{"eventType": "old", "timestamp": "2001-01-01T00:00:00Z"}]}, key="WRITE-KEY"
    ),
    "ingest-not-json": lambda: _request(_EVENTS, '{"sessionId": ', key="WRITE-KEY"),
    "ingest-no-key": lambda: _request(_EVENTS, BATCH),
    "ingest-read-key": lambda: _request(_EVENTS, BATCH, key="READ-KEY"),
    "session-put": lambda: _request(
        f"PUT {_SESSIONS}", {"userId": "ada", "context": {"locale": "en"}}, key="WRITE-KEY", path={"sessionId": SESSION}
    ),
    "session-get-unknown": lambda: _request(
        f"GET {_SESSIONS}", key="READ-KEY", path={"sessionId": "00000000-0000-4000-8000-000000000000"}
    ),
    "consent-put": lambda: _request(
        "PUT /v1/consent",
        {"userId": "ada", "status": "granted", "version": "2026-05", "dataUsageAccepted": True},
        key="WRITE-KEY",
    ),
    "consent-get": lambda: _request("GET /v1/consent", key="READ-KEY", query="userId=unknown"),
    "consent-subject": lambda: _request("GET /v1/subjects/{userId}", key="ADMIN-KEY", path={"userId": "ada"}),
    "consent-erase": lambda: _request("DELETE /v1/subjects/{userId}", key="ADMIN-KEY", path={"userId": "unknown"}),
    "pilot-issue": lambda: _request(
        f"POST {_PILOT_TOKENS}", {"participantType": "tester", "count": 2, "note": "first wave"}, key="ADMIN-KEY"
    ),
    "pilot-redeem-unknown": lambda: _request(
        f"POST {_PILOT_TOKENS}/redeem", {"token": "mp_unknown", "userId": "ada"}, key="WRITE-KEY"
    ),
    "metrics-all": lambda: _request("GET /v1/metrics", key="READ-KEY", query="timeframe=all&breakdown=eventType"),
    "metrics-bad-parameter": lambda: _request("GET /v1/metrics", key="READ-KEY", query="timeframe=fortnight"),
    "metrics-funnel": lambda: _request(
        "POST /v1/metrics/funnel",
        {"steps": [{"eventType": "page_view"}, {"eventType": "sign_up"}], "window": "P1D", "by": "session"},
        key="READ-KEY",
    ),
    "diagnostics": lambda: _request("GET /v1/diagnostics", key="READ-KEY"),
    "diagnostics-healthz": lambda: _request("GET /healthz"),
    "web-description": lambda: _request("GET /openapi.json"),
    "consume-foreign-message": lambda: _messages("Hello from SQS!"),
    "consume-unknown-key": lambda: _messages(_unknown_key()),
    "maintain-hourly": lambda: json.loads(_generated("cloudwatch", "scheduled-event")),
    "maintain-roll-up": lambda: {"work": "roll_up"},
    "maintain-retention": lambda: {"work": "retention"},
    "maintain-retention-dry-run": lambda: {"work": "retention", "dryRun": True},
    "migrate": lambda: {"action": "migrate"},
    "migrate-verify": lambda: {"action": "verify"},
    "migrate-create-project": lambda: {"action": "create_project", "name": "My pilot"},
    "migrate-unknown-action": lambda: {"action": "drop_everything"},
}


def function_of(name: str) -> str:
    """The logical id of the function that an event is for."""
    return f"{name.partition('-')[0].title()}Function"


def texts() -> dict[str, str]:
    """The content of each file, by the name of its event."""
    return {name: json.dumps(make(), indent=2, ensure_ascii=False) + "\n" for name, make in EVENTS.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.sam.shipped_events", description=__doc__)
    parser.parse_args(arguments)
    FOLDER.mkdir(exist_ok=True)
    made = texts()
    for path in FOLDER.glob("*.json"):
        if path.stem not in made:
            path.unlink()
    for name, text in made.items():
        Path(FOLDER / f"{name}.json").write_text(text, "utf-8")
    print(f"Wrote {len(made)} events to {FOLDER.relative_to(PROJECT)}/.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
