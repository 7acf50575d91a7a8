"""Creates, updates and shows sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.api.app import lambda_handler_for, service
from muster.api.routing import Routes

if TYPE_CHECKING:
    from muster.http.request import Request
    from muster.sessions import KnownSession, Session

routes = Routes()


@routes.put("/v1/sessions/{sessionId}")
def put_session(request: Request) -> Session:
    """Create or update a session."""
    return service(request).put_session(request.path_parameters["sessionId"], request.body)


@routes.get("/v1/sessions/{sessionId}")
def get_session(request: Request) -> KnownSession:
    """A session and what is known of it."""
    return service(request).get_session(request.path_parameters["sessionId"])


lambda_handler = lambda_handler_for(routes)
