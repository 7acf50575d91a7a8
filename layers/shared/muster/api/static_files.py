"""Answers with files that a build made: compressed ahead, and known again by browsers that have them.

It imports no database, which `api.app` does: the dashboard waits for no more than its files need.
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
from muster.http.response import Response, error_response

# The smaller first.
_ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_FIRST = "no-cache"


def lambda_handler_for_files(routes: Routes) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The function that Lambda calls; a file that is not there is a 404 as the wire contract says."""

    def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        request = Request(event, context.aws_request_id)
        found = routes.find(request.method, request.path)
        if found is None:
            return _not_found(request, "There is no such route; see the API's description.").payload(request.id)
        route, request.path_parameters = found
        assert route.handle is not None  # noqa: S101 - for the type checker: routes of files have a plain function
        try:
            response = route.handle(request)
        except FileNotFoundError:
            response = _not_found(request, "There is no such file; it may be of another version: load the page again.")
        return response.payload(request.id)

    return lambda_handler


def file_response(
    request: Request, path: Path, *, is_immutable: bool = False, headers: Mapping[str, str] | None = None
) -> Response:
    """A file in the smallest form that the client takes, or nothing where the client has it already.

    Raises:
        FileNotFoundError: there is none.
    """
    # A folder is no file, and neither is what a build leaves next to its files.
    if path.suffix not in _TYPES or not path.is_file():
        raise FileNotFoundError(path.name)
    accepted = _accepted(request.header("accept-encoding") or "")
    encoding, body, etag = _packed(path, path.stat().st_mtime_ns, accepted)
    sent = {
        "cache-control": _FOR_EVER if is_immutable else _ASK_FIRST,
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
    """The encodings that a client takes: each that it names, unless with q=0."""
    named = (part.partition(";") for part in header.replace(" ", "").lower().split(","))
    return frozenset(name for name, _, quality in named if quality not in ("q=0", "q=0.0", "q=0.00", "q=0.000"))


# An environment serves the same few files again and again; on a developer's machine a build may replace them.
@cache
def _packed(path: Path, _written_at: int, accepted: frozenset[str]) -> tuple[str | None, str, str]:
    """A file's encoding, its bytes as API Gateway takes them, and its tag, which is weak: every encoding has it."""
    plain = path.read_bytes()
    etag = f'W/"{hashlib.sha256(plain).hexdigest()[:20]}"'
    for encoding, suffix in _ENCODINGS:
        packed = path.with_name(path.name + suffix)
        if encoding in accepted and packed.exists():
            return encoding, base64.b64encode(packed.read_bytes()).decode(), etag
    return None, base64.b64encode(plain).decode(), etag


def _not_found(request: Request, message: str) -> Response:
    return error_response(request.id, HTTPStatus.NOT_FOUND, code="not_found", message=message)
