"""Sends requests to a deployed API as its clients do: by HTTP, with a base URL and keys."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.http import http

SETTLE_SECONDS = 120.0


@dataclass(frozen=True)
class Api:
    """A deployment of the API."""

    url: str
    keys: dict[str, str]
    breaks_gzip: bool = False
    """The stand-in for API Gateway passes a gzip body on as broken text."""
    answers_options: bool = False
    """The stand-in for API Gateway answers OPTIONS itself, whatever the routes are."""

    def request(self, method: str, path: str, *, kind: str | None = None, **options: Any) -> httpx.Response:
        """Send a request with the key of a kind."""
        headers = {"authorization": f"Bearer {self.keys[kind]}"} if kind else {}
        headers |= options.pop("headers", {})
        url = f"{self.url.rstrip('/')}{path}"
        return http.request(method, url, headers=headers, **options)

    def post(self, batch: Any, *, kind: str | None = "write", **options: Any) -> httpx.Response:
        """Post a batch, as JSON unless `content` says otherwise."""
        if "content" not in options:
            options["json"] = batch
        return self.request("POST", "/v1/events", kind=kind, **options)

    def get(self, path: str, *, kind: str | None = "read", **options: Any) -> httpx.Response:
        """Ask with the read key."""
        return self.request("GET", path, kind=kind, **options)


def eventually(look: Callable[[], Any], expected: Any) -> None:
    """Wait until the queued events are stored. In direct mode they are stored already."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (found := look()) != expected:
        assert time.monotonic() < deadline, f"{found!r} is not {expected!r}"
        time.sleep(0.2)
