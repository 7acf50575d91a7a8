"""Creates, updates and shows sessions."""

from muster.api.app import lambda_handler_for
from muster.api.routing import Route, Routes
from muster.platform.errors import NotFound, SessionBelongsToAnotherUser

ROUTES = Routes(
    "Sessions",
    [
        Route(
            "PUT",
            "/v1/sessions/{sessionId}",
            "put_session",
            "Create or update a session",
            read="muster.sessions:parse_session_update",
            body="muster.sessions:SessionIn",
            is_body_optional=True,
            answers="muster.sessions:Session",
            errors=(SessionBelongsToAnotherUser,),
            keys_only=True,
        ),
        Route(
            "GET",
            "/v1/sessions/{sessionId}",
            "get_session",
            "A session",
            read="muster.http.params:uuid_in_path",
            answers="muster.sessions:KnownSession",
            errors=(NotFound,),
            keys_only=True,
        ),
    ],
)

lambda_handler = lambda_handler_for(ROUTES)
