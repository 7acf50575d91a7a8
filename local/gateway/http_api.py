"""Does what an HTTP API of API Gateway does: payload format 2.0, CORS and throttling."""

import base64
import binascii
import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from local.sam.template import PSEUDO_PARAMETERS, Cors, Limit, Route

MAX_BODY_BYTES = 10 * 1024 * 1024
API_ID = "localapi00"
# Compared with AWS in github.com/ministackorg/ministack/pull/766. Every other type is base64, even a form.
TEXT_TYPES = {"application/json", "application/javascript", "application/xml"}
# API Gateway consumes these headers itself. Cookies have a field of their own in the event.
DROPPED_HEADERS = {"connection", "cookie", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
MIN_STATUS, MAX_STATUS = 100, 599


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request, as the client sent it."""

    method: str
    path: str
    """Percent-encoded, as the client sent it."""
    query: str
    headers: Sequence[tuple[str, str]]
    body: bytes = b""
    client: str = "127.0.0.1"
    protocol: str = "HTTP/1.1"
    port: int = 80

    def header(self, name: str) -> str | None:
        """The values of a header, joined by commas. None if the client did not send it."""
        values = [value for key, value in self.headers if key.lower() == name]
        return ",".join(values) if values else None

    @property
    def decoded_path(self) -> str:
        """The path that routes match. HTTP APIs decode it; REST APIs do not."""
        return unquote(self.path)


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response, as the client receives it."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


class MalformedResponseError(Exception):
    """API Gateway cannot turn the function's result into an HTTP response."""


def new_request_id() -> str:
    """A request id that looks like one of API Gateway."""
    return base64.urlsafe_b64encode(secrets.token_bytes(11)).decode()


def to_event(request: Request, route: Route, parameters: Mapping[str, str], *, request_id: str) -> dict[str, Any]:
    """The payload 2.0 event of a request. It has no key for what the request lacks."""
    now = time.time()
    headers = _event_headers(request, now)
    domain = headers.get("host", "localhost").rsplit(":", 1)[0]
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route.key,
        "rawPath": request.decoded_path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": {
            "accountId": PSEUDO_PARAMETERS["AWS::AccountId"],
            "apiId": API_ID,
            "domainName": domain,
            "domainPrefix": domain.split(".", 1)[0],
            "http": {
                "method": request.method,
                "path": request.decoded_path,
                "protocol": request.protocol,
                "sourceIp": request.client,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": route.key,
            "stage": "$default",
            "time": datetime.fromtimestamp(now, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies := _cookies(request):
        event["cookies"] = cookies
    if query := _joined(parse_qsl(request.query, keep_blank_values=True)):
        event["queryStringParameters"] = query
    if parameters:
        event["pathParameters"] = dict(parameters)
    if request.body:
        event["body"], event["isBase64Encoded"] = _event_body(request, headers)
    return event


def _event_headers(request: Request, now: float) -> dict[str, str]:
    headers = _joined((name.lower(), value) for name, value in request.headers)
    headers = {name: value for name, value in headers.items() if name not in DROPPED_HEADERS}
    forwarded = headers.get("x-forwarded-for")
    headers |= {
        "content-length": str(len(request.body)),
        "x-amzn-trace-id": f"Root=1-{int(now):08x}-{secrets.token_hex(12)}",
        "x-forwarded-for": f"{forwarded}, {request.client}" if forwarded else request.client,
        "x-forwarded-port": str(request.port),
        "x-forwarded-proto": "http",
    }
    return dict(sorted(headers.items()))


def _event_body(request: Request, headers: Mapping[str, str]) -> tuple[str, bool]:
    media_type = headers.get("content-type", "").split(";", 1)[0].strip().lower()
    is_text = media_type.startswith("text/") or media_type in TEXT_TYPES
    if is_text and "content-encoding" not in headers:
        # The event is JSON, so it cannot hold bytes that are not UTF-8.
        return request.body.decode("utf-8", errors="replace"), False
    return base64.b64encode(request.body).decode(), True


def _cookies(request: Request) -> list[str]:
    lines = (value for name, value in request.headers if name.lower() == "cookie")
    return [cookie.strip() for line in lines for cookie in line.split(";") if cookie.strip()]


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def to_response(result: Any) -> Response:
    """The HTTP response for the result of a function.

    Raises:
        MalformedResponseError: the result does not follow payload format 2.0.
    """
    if not isinstance(result, dict) or "statusCode" not in result:
        text = result if isinstance(result, str) else json.dumps(result)
        return Response(200, [("content-type", "application/json")], text.encode())
    headers = result.get("headers") or {}
    cookies = result.get("cookies") or []
    if not isinstance(headers, dict) or not isinstance(cookies, list):
        raise MalformedResponseError("headers must be an object, cookies a list")
    pairs = [(str(name).lower(), _header_value(value)) for name, value in headers.items()]
    if not any(name == "content-type" for name, _ in pairs):
        pairs.append(("content-type", "text/plain;charset=UTF-8"))
    pairs += [("set-cookie", _header_value(cookie)) for cookie in cookies]
    # The gateway frames the body itself.
    pairs = [(name, value) for name, value in pairs if name not in {"content-length", *DROPPED_HEADERS}]
    return Response(_status(result["statusCode"]), pairs, _response_body(result))


def _status(value: Any) -> int:
    try:
        status = int(value)
    except (TypeError, ValueError) as error:
        raise MalformedResponseError("statusCode must be a number") from error
    if isinstance(value, bool) or not MIN_STATUS <= status <= MAX_STATUS:
        raise MalformedResponseError("statusCode must be an HTTP status")
    return status


def _header_value(value: Any) -> str:
    text = json.dumps(value) if isinstance(value, bool) else str(value)
    if isinstance(value, dict | list) or value is None or not text.isprintable():
        raise MalformedResponseError("a header's value must be a line of text")
    return text


def _response_body(result: Mapping[str, Any]) -> bytes:
    body = result.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedResponseError("body must be a string")
    if not result.get("isBase64Encoded"):
        return body.encode("utf-8", errors="replace")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise MalformedResponseError("body must be base64 when isBase64Encoded is true") from error


def error_response(status: int, message: str) -> Response:
    """A response that the gateway itself sends."""
    return Response(status, [("content-type", "application/json")], json.dumps({"message": message}).encode())


def is_preflight(request: Request) -> bool:
    """Whether this is a CORS preflight, which the gateway answers without a function."""
    return request.method == "OPTIONS" and request.header("access-control-request-method") is not None


def preflight_response(request: Request, cors: Cors) -> Response:
    """The response to a preflight. It has no CORS headers if the origin may do nothing."""
    headers = _allow_origin(request, cors)
    if headers:
        headers += [("access-control-allow-methods", ",".join(cors.methods))] if cors.methods else []
        headers += [("access-control-allow-headers", ",".join(cors.headers))] if cors.headers else []
        headers += [("access-control-max-age", str(cors.max_age))] if cors.max_age is not None else []
    return Response(204, headers)


def with_cors(response: Response, request: Request, cors: Cors) -> Response:
    """The response with the gateway's CORS headers. They replace those of the function, as on AWS."""
    headers = [(name, value) for name, value in response.headers if not name.startswith("access-control-")]
    if allowed := _allow_origin(request, cors):
        headers += allowed
        headers += [("access-control-expose-headers", ",".join(cors.expose))] if cors.expose else []
    return Response(response.status, headers, response.body)


def _allow_origin(request: Request, cors: Cors) -> list[tuple[str, str]]:
    origin = request.header("origin")
    if origin is None:
        return []
    if "*" in cors.origins:
        allowed = "*"
    elif origin in cors.origins or f"{origin.split('://', 1)[0]}://*" in cors.origins:
        allowed = origin
    else:
        return []
    credentials = [("access-control-allow-credentials", "true")] if cors.credentials else []
    return [("access-control-allow-origin", allowed), *credentials]


@dataclass(slots=True)
class Throttle:
    """Limits the rate of requests with one token bucket per route, as API Gateway does."""

    default: Limit | None
    of_routes: Mapping[str, Limit] = field(default_factory=dict)
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict)

    def admits(self, route: str) -> bool:
        """Take one token of a route. Return whether there was one."""
        limit = self.of_routes.get(route, self.default)
        if limit is None:
            return True
        now = time.monotonic()
        tokens, before = self._buckets.get(route, (float(limit.burst), now))
        tokens = min(tokens + (now - before) * limit.per_second, limit.burst)
        admitted = tokens >= 1
        self._buckets[route] = (tokens - 1 if admitted else tokens, now)
        return admitted
