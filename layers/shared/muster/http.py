"""Between API Gateway and the service: keys in, JSON out, and the one place that knows status codes."""

import base64
import binascii
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

import orjson
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel

from muster import errors
from muster.bodies import RawBody
from muster.database import Database
from muster.errors import Detail, MusterError
from muster.models import BatchResult
from muster.observability import log, work_for
from muster.service import AnalyticsService
from muster.settings import load_settings, starts_from_snapshot
from muster.snap_start import after_restore

Handler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]

# By the nearest type of the error's own line of descent.
STATUS: Mapping[type[MusterError], HTTPStatus] = {
    errors.MissingKey: HTTPStatus.UNAUTHORIZED,
    errors.InvalidKey: HTTPStatus.UNAUTHORIZED,
    errors.KeyNotAllowed: HTTPStatus.FORBIDDEN,
    errors.RequestRefused: HTTPStatus.BAD_REQUEST,
    errors.PayloadTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.UnsupportedEncoding: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.SessionBelongsToAnotherUser: HTTPStatus.CONFLICT,
    errors.DatabaseUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    MusterError: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def create_app() -> APIGatewayHttpResolver:
    """An application whose errors are answered as the wire contract says."""
    app = APIGatewayHttpResolver(serializer=to_json)
    app.exception_handler(NotFoundError)(lambda _: _no_route(app))
    app.exception_handler(Exception)(lambda error: _answer_error(app, error))
    return app


def lambda_handler_for(app: APIGatewayHttpResolver) -> Handler:
    """The function that Lambda calls."""

    def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        work_for(context.aws_request_id)
        response: dict[str, Any] = app.resolve(event, context)
        response["headers"]["x-request-id"] = context.aws_request_id
        return response

    if starts_from_snapshot():
        after_restore(_reconnect)
    return lambda_handler


def _reconnect() -> None:
    # What the snapshot knows is of another time: credentials, and perhaps the address.
    database.cache_clear()
    if database().settings.ingest_mode != "buffered":
        database().connection()


@cache
def database() -> Database:
    """This environment's database, whose connection outlives the invocation."""
    return Database(load_settings())


def service(app: APIGatewayHttpResolver) -> AnalyticsService:
    """The service for the request's key.

    Raises:
        MissingKey: the request has none.
    """
    key = _key_of(app)
    if not key:
        raise errors.MissingKey
    return AnalyticsService(
        database(), key=key, request_id=app.lambda_context.aws_request_id, user_agent=_header(app, "user-agent") or ""
    )


def public_service() -> AnalyticsService:
    """The service for a request that needs no key."""
    return AnalyticsService(database())


def body(app: APIGatewayHttpResolver) -> RawBody:
    """The request's body as API Gateway handed it over."""
    return RawBody(
        content=app.current_event.get("body"),
        is_base64=bool(app.current_event.get("isBase64Encoded")),
        content_type=_header(app, "content-type"),
        content_encoding=_header(app, "content-encoding"),
        content_length=_header(app, "content-length"),
    )


def query_of(app: APIGatewayHttpResolver) -> dict[str, list[str]]:
    """The query's parameters, all values of each, without the key."""
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(app.current_event.get("rawQueryString") or "", keep_blank_values=True):
        if name != "key":
            found.setdefault(name, []).append(value)
    return found


def to_json(value: Any) -> str:
    """The JSON text of a response's body."""
    return orjson.dumps(value, default=_plain).decode()


def batch_response(result: BatchResult) -> Response[str]:
    """The response to a batch: 200 is committed, 202 is durably queued."""
    return json_response(result, HTTPStatus.OK if result["status"] == "committed" else HTTPStatus.ACCEPTED)


def json_response(value: Any, status: HTTPStatus) -> Response[str]:
    """A JSON response of another status than 200."""
    return Response(status_code=status, content_type="application/json", body=to_json(value))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"{type(value).__name__} is no JSON value.")


def _header(app: APIGatewayHttpResolver, name: str) -> str | None:
    # In any case of letters: API Gateway writes them small, sam local does not.
    headers: Mapping[str, str] = app.current_event.get("headers") or {}
    if name in headers:
        return headers[name]
    return next((value for other, value in headers.items() if other.lower() == name), None)


def _key_of(app: APIGatewayHttpResolver) -> str | None:
    scheme, _, credentials = (_header(app, "authorization") or "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError) as error:
            raise errors.InvalidKey from error
    parameters: Mapping[str, str] = app.current_event.get("queryStringParameters") or {}
    return parameters.get("key")


def _no_route(app: APIGatewayHttpResolver) -> Response[str]:
    return _error_response(app, HTTPStatus.NOT_FOUND, "not_found", "There is no such route; see the API's description.")


def _answer_error(app: APIGatewayHttpResolver, error: Exception) -> Response[str]:
    if not isinstance(error, MusterError):
        # The frames, not the message: a message may hold what a client sent.
        frames = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-8:]]
        log("ERROR", "unexpected_error", error=type(error).__name__, frames=frames)
        message = "Something unexpected went wrong; nothing is known to be stored. Send the same request again."
        return _error_response(app, HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", message)
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    log(
        "ERROR" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "WARN",
        "request_failed",
        route=app.current_event.get("routeKey"),
        status=status,
        code=error.code,
        sqlstate=getattr(error, "sqlstate", None),
    )
    headers = {}
    if isinstance(error, errors.DatabaseUnavailable):
        headers["retry-after"] = str(error.retry_after_seconds)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = 'Bearer realm="muster"'
    return _error_response(app, status, error.code, error.message, details=error.details, headers=headers)


def _error_response(
    app: APIGatewayHttpResolver,
    status: HTTPStatus,
    code: str,
    message: str,
    *,
    details: list[Detail] | None = None,
    headers: dict[str, str] | None = None,
) -> Response[str]:
    answer = {
        "error": {"code": code, "message": message, "requestId": _request_id(app), "details": details or []},
    }
    response = json_response(answer, status)
    response.headers.update(headers or {})
    return response


def _request_id(app: APIGatewayHttpResolver) -> str:
    return str(app.lambda_context.aws_request_id)
