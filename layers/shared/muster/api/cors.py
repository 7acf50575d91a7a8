"""Which web pages may use a project's key, and the headers that tell their browsers.

A page is refused before anything is stored, for a browser that may not read an answer has sent its request all the
same. Only browsers send an origin: programs can leave it out or make one up, and so it is no secret's protection.
"""

import time
from http import HTTPStatus

from muster.db.client import Connection, Database, call_value
from muster.http.request import Request
from muster.http.response import Response
from muster.platform.errors import OriginNotAllowed
from muster.platform.settings import load_allowed_origins

ANY = "*"
# A change of allowedOrigins is in force everywhere after so long; a revoked key is refused at once all the same.
KEPT_SECONDS = 60.0
PREFLIGHT = {
    "access-control-allow-methods": "GET,POST,PUT,DELETE",
    "access-control-allow-headers": "authorization,content-type,content-encoding,x-muster-project",
    "access-control-max-age": "86400",
}
EXPOSED = "x-request-id,x-next-cursor,retry-after"
# By the key's hash: until when the answer holds, and the origins. Only keys that the database knows are cached.
_known: dict[bytes, tuple[float, list[str]]] = {}


def check_origin(database: Database, request: Request, key_hash: bytes) -> None:
    """Refuse a page that may not use this key: nothing where no page asks, a statement a minute where one does.

    Raises:
        OriginNotAllowed: the deployment or the key's project does not allow the page's origin.
        DatabaseUnavailable: it cannot be known; nothing was stored.
    """
    origin = request.origin
    if origin is None or _is_our_own(request, origin):
        return
    request.is_origin_refused = not _is_in(load_allowed_origins(), origin)
    # Buffered, ingest has no way to the database: the deployment's origins are all that it knows.
    if not request.is_origin_refused and not database.settings.only_queues:
        allowed = _allowed_by_project(database, key_hash)
        # A key that is not known is refused by who knows it.
        request.is_origin_refused = allowed is not None and not _is_in(allowed, origin)
    if request.is_origin_refused:
        raise OriginNotAllowed


def cors_headers(request: Request) -> dict[str, str]:
    """The headers of a response that say whether the page may read it."""
    origin = request.origin
    if origin is None:
        return {}
    if request.is_origin_refused or not _is_in(load_allowed_origins(), origin):
        return {"vary": "origin"}
    return {"vary": "origin", "access-control-allow-origin": origin, "access-control-expose-headers": EXPOSED}


def answer_preflight(request: Request) -> Response:
    """What a browser may send. It asks without a key, so the project is not known; the request itself is checked."""
    origin = request.origin
    is_allowed = origin is not None and _is_in(load_allowed_origins(), origin)
    return Response("", HTTPStatus.NO_CONTENT, "text/plain", PREFLIGHT if is_allowed else {})


def _allowed_by_project(database: Database, key_hash: bytes) -> list[str] | None:
    until, allowed = _known.get(key_hash, (0.0, None))
    # Not the monotonic clock: it stands still while the environment is frozen.
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
    # The dashboard is served by this API; browsers name its origin with a POST.
    return origin.partition("://")[2] == request.header("host")
