"""The ASGI application: takes an HTTP request, invokes the function of its route and sends the response."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from local.gateway.environments import QUEUE_TIMEOUT_SECONDS, EnvironmentPool, FunctionError, FunctionTimeoutError
from local.gateway.http_api import (
    MAX_BODY_BYTES,
    MalformedResponseError,
    Request,
    Response,
    Throttle,
    error_response,
    is_preflight,
    new_request_id,
    preflight_response,
    to_event,
    to_response,
    with_cors,
)
from local.gateway.logs import FunctionLogs
from local.sam.template import Template
from muster.api.routing import Matcher

ENVIRONMENTS_PER_FUNCTION = 4
# Many clients read the response only after they have sent the whole body, so up to this much of a refused one is read.
MAX_DRAINED_BYTES = 10 * MAX_BODY_BYTES


Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Gateway:
    """Serves one template: its routes, its CORS settings and a pool of environments for each function."""

    def __init__(
        self,
        template: Template,
        *,
        environment: Mapping[str, str],
        logs: FunctionLogs,
        environments_per_function: int = ENVIRONMENTS_PER_FUNCTION,
        wait_seconds: float = QUEUE_TIMEOUT_SECONDS,
        prestart: bool = True,
    ) -> None:
        self._template = template
        self._routes = Matcher(template.routes)
        self._throttle = Throttle(template.limit, template.limits)
        self._logs = logs
        self._prestart = prestart
        self._warming: list[asyncio.Task[None]] = []
        self._pools = {
            name: EnvironmentPool(
                function, environment, logs, limit=environments_per_function, wait_seconds=wait_seconds
            )
            for name, function in template.functions.items()
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope: the lifespan, or one HTTP request."""
        if scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        elif scope["type"] == "http":
            await _respond(send, await self._handle(scope, receive))

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        if self._prestart:
            routed = dict.fromkeys(route.function for route in self._template.routes)
            self._warming = [asyncio.create_task(self._warm(name)) for name in routed]
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for task in self._warming:
            task.cancel()
        await asyncio.gather(*self._warming, return_exceptions=True)
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))
        await send({"type": "lifespan.shutdown.complete"})

    async def _warm(self, name: str) -> None:
        try:
            await self._pools[name].warm()
        except FunctionError as error:
            self._logs.write(name, f"The function could not start: {error}")

    async def _handle(self, scope: Message, receive: Receive) -> Response:
        body = await _read_body(receive)
        request = _request(scope, body or b"")
        request_id = new_request_id()
        cors = self._template.cors
        if cors and is_preflight(request):
            response = preflight_response(request, cors)
        elif body is None:
            response = error_response(413, "Request Entity Too Large")
        else:
            response = await self._invoke(request, request_id)
        if cors and not is_preflight(request):
            response = with_cors(response, request, cors)
        response.headers.append(("apigw-requestid", request_id))
        return response

    async def _invoke(self, request: Request, request_id: str) -> Response:
        found = self._routes.find(request.method, request.decoded_path)
        if found is None:
            # API Gateway answers OPTIONS on any path if the API has CORS.
            if request.method == "OPTIONS" and self._template.cors:
                return Response(204)
            return error_response(404, "Not Found")
        route, parameters = found
        if not self._throttle.admits(route.key):
            return error_response(429, "Too Many Requests")
        event = to_event(request, route, parameters, request_id=request_id)
        try:
            result = await self._pools[route.function].invoke(event, trace_id=event["headers"]["x-amzn-trace-id"])
            return to_response(result)
        except FunctionTimeoutError as error:
            self._logs.write(route.function, f"{request_id} 503: {error}")
            return error_response(503, "Service Unavailable")
        except (FunctionError, MalformedResponseError) as error:
            self._logs.write(route.function, f"{request_id} 500: {error}")
            return error_response(500, "Internal Server Error")


def _request(scope: Message, body: bytes) -> Request:
    client, server = scope.get("client") or ("127.0.0.1", 0), scope.get("server") or ("127.0.0.1", 80)
    return Request(
        method=scope["method"],
        path=scope["raw_path"].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]],
        body=body,
        client=client[0],
        protocol=f"HTTP/{scope['http_version']}",
        port=server[1],
    )


async def _read_body(receive: Receive) -> bytes | None:
    """Read the whole body. Return None if it exceeds the limit of API Gateway."""
    chunks: list[bytes] = []
    size = 0
    while size <= MAX_DRAINED_BYTES:
        message = await receive()
        size += len(message.get("body", b""))
        if size <= MAX_BODY_BYTES:
            chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            break
    return b"".join(chunks) if size <= MAX_BODY_BYTES else None


async def _respond(send: Send, response: Response) -> None:
    headers = [(name.encode(), value.encode()) for name, value in response.headers]
    if response.status not in {204, 304}:
        headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
