"""Calls the functions' handlers in this process with the events that API Gateway would send."""

import base64
import gzip
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from local.gateway.http_api import Request, to_event
from local.sam.template import Route
from muster.api import app as api
from tests.support.databases import Project

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"


class Context:
    """The attributes of Lambda's context that handlers read."""

    function_name = "tests"

    def __init__(self) -> None:
        self.aws_request_id = str(uuid.uuid4())
        self._deadline = time.monotonic() + 10

    def get_remaining_time_in_millis(self) -> int:
        return int((self._deadline - time.monotonic()) * 1000)


@dataclass(frozen=True)
class Answer:
    """The response of a function."""

    status: int
    headers: dict[str, str]
    json: Any
    """None if the body is not JSON."""
    text: str

    @property
    def code(self) -> str:
        """The error's code."""
        return str(self.json["error"]["code"])


@dataclass(frozen=True)
class Caller:
    """Calls one handler with a project's keys; functions of one role keep their connection from call to call."""

    handler: Handler
    project: Project
    role: str
    environment: pytest.MonkeyPatch

    def __call__(
        self,
        route: str,
        body: Any = None,
        *,
        kind: str | None = "write",
        path: str | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        gzipped: bool = False,
        claims: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Send a request; `body` is bytes or text as they are, any other value is sent as JSON."""
        if os.environ["DATABASE_ROLE"] != self.role:
            api.database().close()
            api.database.cache_clear()
            self.environment.setenv("DATABASE_ROLE", self.role)
        method, _, pattern = route.partition(" ")
        content = body if isinstance(body, bytes) else b"" if body is None else _text(body).encode("utf-8")
        sent = {"host": "localhost", "user-agent": BROWSER, "content-type": "application/json"}
        if kind is not None:
            sent["authorization"] = f"Bearer {self.project.keys[kind]}"
        if gzipped:
            sent["content-encoding"] = "gzip"
            content = gzip.compress(content)
        sent |= headers or {}
        request = Request(method, path or pattern, urlencode(query or {}, doseq=True), list(sent.items()), content)
        event = to_event(request, Route(method, pattern, "Function"), {}, request_id="test-request")
        if claims is not None:
            event["requestContext"]["authorizer"] = {"jwt": {"claims": dict(claims), "scopes": None}}
        context = Context()
        response = self.handler(event, context)
        text, kind_of_text = response["body"], response["headers"]["Content-Type"]
        if response["isBase64Encoded"]:
            # The request has no accept-encoding, so the content is text.
            text = base64.b64decode(text).decode()
        found = json.loads(text) if kind_of_text == "application/json" else None
        answer = Answer(response["statusCode"], response["headers"], found, text)
        assert answer.headers["x-request-id"] == context.aws_request_id
        return answer


def an_event(**fields: Any) -> dict[str, Any]:
    """A valid event with an id of its own; `fields` replace its fields, and None takes one out."""
    event = {
        "id": str(uuid.uuid4()),
        "eventType": "page_view",
        "area": "shop",
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "data": {"path": "/shop"},
        **fields,
    }
    return {name: value for name, value in event.items() if value is not None}


def a_batch(*events: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A batch of a session of its own, by default of two events."""
    return {"sessionId": str(uuid.uuid4()), "events": list(events) or [an_event(), an_event()], **fields}


def _text(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body)
