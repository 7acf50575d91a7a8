"""Serves files from a build, compressed in advance and with ETags for browser caches.

This module does not import the database as `api.app` does, so that the dashboard starts quickly.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from muster.api.routing import Routes
from muster.http.request import Request
from muster.http.response import Response, error_response, route_not_found
from muster.platform.errors import NotFound

# The best compression first.
_ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
_CACHE_FOREVER = "public, max-age=31536000, immutable"
_REVALIDATE = "no-cache"


def lambda_handler_for_files(routes: Routes) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """Make the function that Lambda calls; a missing file is a 404."""

    def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        request = Request(event, context.aws_request_id)
        found = routes.find(request.method, request.path)
        if found is None:
            return route_not_found(request.id).payload(request.id)
        route, request.path_parameters = found
        assert route.handle is not None  # noqa: S101 - for the type checker: routes for files have one
        try:
            response = route.handle(request)
        except FileNotFoundError:
            message = "This file does not exist. It may be from an old version; reload the page."
            response = error_response(request.id, HTTPStatus.NOT_FOUND, code=NotFound.code, message=message)
        return response.payload(request.id)

    return lambda_handler


def file_response(
    request: Request, path: Path, *, is_immutable: bool = False, headers: Mapping[str, str] | None = None
) -> Response:
    """A file in the smallest encoding that the client accepts, or 304 if the client has it already.

    Raises:
        FileNotFoundError: the file does not exist, or it is not of a type that is served.
    """
    if path.suffix not in _TYPES or not path.is_file():
        raise FileNotFoundError(path.name)
    accepted = _accepted(request.header("accept-encoding") or "")
    encoding, body, etag = _packed(path, path.stat().st_mtime_ns, accepted)
    sent = {
        "cache-control": _CACHE_FOREVER if is_immutable else _REVALIDATE,
        "etag": etag,
        "vary": "accept-encoding",
        "x-content-type-options": "nosniff",
        **(headers or {}),
    }
    if etag in (known.strip() for known in (request.header("if-none-match") or "").split(",")):
        return Response("", HTTPStatus.NOT_MODIFIED, _TYPES[path.suffix], sent)
    if encoding:
        sent["content-encoding"] = encoding
    return Response(body, HTTPStatus.OK, _TYPES[path.suffix], sent, is_base64=True)


def _accepted(header: str) -> frozenset[str]:
    """The encodings that a client accepts: those it names without q=0."""
    named = (part.partition(";") for part in header.replace(" ", "").lower().split(","))
    return frozenset(name for name, _, quality in named if quality not in ("q=0", "q=0.0", "q=0.00", "q=0.000"))


# Cached with the modification time in the key, because a build on a developer's machine may replace a file.
@cache
def _packed(path: Path, _written_at: int, accepted: frozenset[str]) -> tuple[str | None, str, str]:
    """A file's encoding, its bytes in base64, and its ETag, which is weak because all encodings share it."""
    plain = path.read_bytes()
    etag = f'W/"{hashlib.sha256(plain).hexdigest()[:20]}"'
    for encoding, suffix in _ENCODINGS:
        packed = path.with_name(path.name + suffix)
        if encoding in accepted and packed.exists():
            return encoding, base64.b64encode(packed.read_bytes()).decode(), etag
    return None, base64.b64encode(plain).decode(), etag
