"""Checks which web origins may use a project's key, and makes the CORS headers.

CORS alone only keeps a browser from reading the response, so a request from a forbidden origin is refused before
anything is stored. This does not protect a secret key: programs can leave the origin out or fake it.
"""

import time
from http import HTTPStatus

from muster.db.client import Connection, Database, call_value
from muster.http.request import Request
from muster.http.response import Response
from muster.platform.errors import OriginNotAllowed
from muster.platform.settings import load_allowed_origins

ANY = "*"
# How long a change of allowedOrigins takes to apply everywhere. A revoked key is refused immediately.
KEPT_SECONDS = 60.0
PREFLIGHT = {
    "access-control-allow-methods": "GET,POST,PUT,DELETE",
    "access-control-allow-headers": "authorization,content-type,content-encoding,x-muster-project",
    "access-control-max-age": "86400",
}
EXPOSED = "x-request-id,x-next-cursor,retry-after"
# Key hash → when the entry expires, and the origins. Only keys that the database knows are cached.
_known: dict[bytes, tuple[float, list[str]]] = {}


def check_origin(database: Database, request: Request, key_hash: bytes) -> None:
    """Refuse a page from an origin that may not use this key. Costs one statement a minute for each key and function.

    Raises:
        OriginNotAllowed: the deployment or the key's project does not allow the page's origin.
        DatabaseUnavailable: the project's origins cannot be read.
    """
    origin = request.origin
    if origin is None or _is_our_own(request, origin):
        return
    request.is_origin_refused = not _is_in(load_allowed_origins(), origin)
    # Buffered ingest cannot reach the database, so it knows only the deployment's origins.
    if not request.is_origin_refused and not database.settings.only_queues:
        allowed = _allowed_by_project(database, key_hash)
        # None means that the key is unknown; the operation refuses it.
        request.is_origin_refused = allowed is not None and not _is_in(allowed, origin)
    if request.is_origin_refused:
        raise OriginNotAllowed


def cors_headers(request: Request) -> dict[str, str]:
    """The headers that say whether the page may read the response."""
    origin = request.origin
    if origin is None:
        return {}
    if request.is_origin_refused or not _is_in(load_allowed_origins(), origin):
        return {"vary": "origin"}
    return {"vary": "origin", "access-control-allow-origin": origin, "access-control-expose-headers": EXPOSED}


def answer_preflight(request: Request) -> Response:
    """Answer a preflight request. It has no key and so no project; the request that follows is checked fully."""
    origin = request.origin
    is_allowed = origin is not None and _is_in(load_allowed_origins(), origin)
    return Response("", HTTPStatus.NO_CONTENT, "text/plain", PREFLIGHT if is_allowed else {})


def _allowed_by_project(database: Database, key_hash: bytes) -> list[str] | None:
    until, allowed = _known.get(key_hash, (0.0, None))
    # Not the monotonic clock, which stops while the environment is frozen.
    now = time.time()
    if allowed is None or now > until:
        allowed = database.run(_get_allowed_origins, key_hash)
        if allowed is not None:
            _known[key_hash] = (now + KEPT_SECONDS, allowed)
    return allowed


def _get_allowed_origins(connection: Connection, key_hash: bytes) -> list[str] | None:
    found: list[str] | None = call_value(connection, "allowed_origins", {"key_hash": key_hash})
    return found


def _is_in(allowed: list[str], origin: str) -> bool:
    return ANY in allowed or origin in allowed


def _is_our_own(request: Request, origin: str) -> bool:
    # The dashboard is served by this API, and its POST requests have an origin too.
    return origin.partition("://")[2] == request.header("host")
