"""Creates, updates and shows sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster import topics
from muster.api.app import lambda_handler_for, service
from muster.api.routing import Routes
from muster.http.request import uuid_in_path

if TYPE_CHECKING:
    from muster.http.request import Request
    from muster.sessions import KnownSession, Session

routes = Routes()


@routes.put("/v1/sessions/{sessionId}")
def put_session(request: Request) -> Session:
    """Create or update a session."""
    return service(request).put_session(topics.sessions.parse_session_update(request))


@routes.get("/v1/sessions/{sessionId}")
def get_session(request: Request) -> KnownSession:
    """A session and what is known of it."""
    return service(request).get_session(uuid_in_path(request))


lambda_handler = lambda_handler_for(routes)
