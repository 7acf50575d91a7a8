"""Handles API Gateway requests: authenticates, calls the service, and maps results and errors to HTTP responses."""

import traceback
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from muster.api.cors import check_origin, cors_headers
from muster.api.jwt_login import key_of_login
from muster.api.routing import Routes, resolve
from muster.auth.keys import hash_key, note_use
from muster.db.client import Database
from muster.http.request import Request
from muster.http.response import Response, error_response, json_response, route_not_found
from muster.platform import errors
from muster.platform.errors import MusterError
from muster.platform.logging import log, work_for
from muster.platform.settings import load_settings, starts_from_snapshot
from muster.platform.snapstart import after_restore
from muster.service import AnalyticsService

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

# The status of an error is that of its closest base class in this table.
STATUS: Mapping[type[MusterError], HTTPStatus] = {
    errors.MissingKey: HTTPStatus.UNAUTHORIZED,
    errors.InvalidKey: HTTPStatus.UNAUTHORIZED,
    errors.KeyNotAllowed: HTTPStatus.FORBIDDEN,
    errors.OriginNotAllowed: HTTPStatus.FORBIDDEN,
    errors.LoginNotAllowed: HTTPStatus.FORBIDDEN,
    errors.RequestRefused: HTTPStatus.BAD_REQUEST,
    errors.PayloadTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.UnsupportedEncoding: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.SessionBelongsToAnotherUser: HTTPStatus.CONFLICT,
    errors.TokenGone: HTTPStatus.GONE,
    errors.TooManyAttempts: HTTPStatus.TOO_MANY_REQUESTS,
    errors.DatabaseUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    MusterError: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def lambda_handler_for(routes: Routes) -> Handler:
    """Make the function that Lambda calls; it turns every error into an error response."""

    def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        request = Request(event, context.aws_request_id)
        work_for(request.id)
        try:
            response = _answer(routes, request)
            _note_use(request)
        except Exception as error:  # the client gets an error response even for a bug
            response = _error_response(request, error)
        if request.origin is not None:
            response.headers = {**response.headers, **cors_headers(request)}
        return response.payload(request.id)

    if starts_from_snapshot():
        after_restore(_reconnect)
    return lambda_handler


def _answer(routes: Routes, request: Request) -> Response:
    found = routes.find(request.method, request.path)
    if found is None:
        return route_not_found(request.id)
    route, request.path_parameters = found
    if route.handle is not None:
        return route.handle(request)
    # The key is checked before the request is parsed.
    operation = getattr(service(request) if route.kinds else public_service(), route.operation)
    answer = operation(resolve(route.read)(request)) if route.read else operation()
    response: Response = resolve(route.respond)(answer) if route.respond else json_response(answer, route.status)
    return response


def _note_use(request: Request) -> None:
    # Buffered ingest has no connection and cannot check the key; consume does so.
    if request.key_used is not None and database().is_open:
        note_use(database().connection(), request.key_used)


def _reconnect() -> None:
    # The snapshot's credentials are out of date, and the database's address may be.
    database.cache_clear()
    if database().settings.ingest_mode != "buffered":
        database().connection()


@cache
def database() -> Database:
    """The database of this environment. Its connection stays open between invocations."""
    return Database(load_settings())


def service(request: Request) -> AnalyticsService:
    """The service for the request's key or login.

    Raises:
        KeyRefused: the key is missing, or the origin or the login is not allowed. The operation itself checks the key.
    """
    claims = request.claims
    key = "login" if claims is not None else request.key
    key_hash = hash_key(key) if claims is None else key_of_login(database(), request, claims)
    check_origin(database(), request, key_hash)
    request.key_used = key_hash
    return AnalyticsService(
        database(),
        key=key,
        key_hash=key_hash,
        request_id=request.id,
        user_agent=request.header("user-agent") or "",
        opts_out="1" in (request.header("sec-gpc"), request.header("dnt")),
    )


def public_service() -> AnalyticsService:
    """The service for a request that needs no key."""
    return AnalyticsService(database())


def status_of(error: type[MusterError]) -> HTTPStatus:
    """The HTTP status of an error."""
    return next(STATUS[kind] for kind in error.__mro__ if kind in STATUS)


def _error_response(request: Request, error: Exception) -> Response:
    if not isinstance(error, MusterError):
        # Log the frames but not the message, which may have values from a client.
        frames = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-8:]]
        log("ERROR", "unexpected_error", error=type(error).__name__, frames=frames)
        message = "An unexpected error occurred. Send the same request again. The function's log has the cause."
        return error_response(request.id, HTTPStatus.INTERNAL_SERVER_ERROR, code=MusterError.code, message=message)
    status = status_of(type(error))
    log(
        "ERROR" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "WARN",
        "request_failed",
        route=request.route_key,
        status=status,
        code=error.code,
        sqlstate=getattr(error, "sqlstate", None),
    )
    response = error_response(request.id, status, code=error.code, message=error.message, details=error.details)
    if isinstance(error, errors.DatabaseUnavailable | errors.TooManyAttempts):
        response.headers = {"retry-after": str(error.retry_after_seconds)}
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers = {"www-authenticate": 'Bearer realm="muster"'}
    return response
