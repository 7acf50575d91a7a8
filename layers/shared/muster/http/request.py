"""A request in the payload format 2.0 of API Gateway's HTTP APIs."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from muster.http.body import RawBody
from muster.platform.errors import InvalidKey


class Request:
    """A request to one route."""

    __slots__ = (
        "_event",
        "_headers",
        "id",
        "is_origin_refused",
        "key_used",
        "method",
        "origin",
        "path",
        "path_parameters",
    )

    def __init__(self, event: Mapping[str, Any], request_id: str) -> None:
        self._event = event
        self.id = request_id
        self.method: str = event["requestContext"]["http"]["method"]
        self.path: str = event["rawPath"]
        """Decoded."""
        self.path_parameters: Mapping[str, str] = {}
        headers: Mapping[str, str] = event.get("headers") or {}
        # API Gateway sends header names in lower case; sam local does not.
        self._headers = headers if "".join(headers).islower() else {name.lower(): headers[name] for name in headers}
        self.origin: str | None = self._headers.get("origin")
        """The origin of the web page that sent the request; only browsers send it."""
        self.is_origin_refused = False
        self.key_used: bytes | None = None
        """The hash of the key that authorised the request; None before that, and on routes that need no key."""

    @property
    def route_key(self) -> str | None:
        """The route's name in API Gateway, such as "POST /v1/events"."""
        return self._event.get("routeKey")

    def header(self, name: str) -> str | None:
        """A header by its lower-case name; None if it was not sent."""
        return self._headers.get(name)

    @property
    def claims(self) -> Mapping[str, Any] | None:
        """The claims of a JWT that API Gateway has verified; a client cannot set them."""
        authorizer: Mapping[str, Any] = self._event["requestContext"].get("authorizer") or {}
        found: Mapping[str, Any] | None = (authorizer.get("jwt") or {}).get("claims")
        return found

    @property
    def query(self) -> dict[str, list[str]]:
        """The query parameters with all of their values, without the key."""
        found: dict[str, list[str]] = {}
        for name, value in self._parameters():
            if name != "key":
                found.setdefault(name, []).append(value)
        return found

    @property
    def body(self) -> RawBody:
        """The body as received from API Gateway."""
        return RawBody(
            content=self._event.get("body"),
            is_base64=bool(self._event.get("isBase64Encoded")),
            content_type=self.header("content-type"),
            content_encoding=self.header("content-encoding"),
            content_length=self.header("content-length"),
        )

    @property
    def key(self) -> str | None:
        """The key: a bearer token, the user name of basic authentication, or the query parameter `key`.

        Raises:
            InvalidKey: the basic authentication is malformed.
        """
        scheme, _, credentials = (self.header("authorization") or "").strip().partition(" ")
        if scheme.lower() == "bearer":
            return credentials.strip()
        if scheme.lower() == "basic":
            try:
                return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[0]
            except (binascii.Error, UnicodeDecodeError) as error:
                raise InvalidKey from error
        return next((value for name, value in self._parameters() if name == "key"), None)

    def _parameters(self) -> list[tuple[str, str]]:
        return parse_qsl(self._event.get("rawQueryString") or "", keep_blank_values=True)


def body_of(request: Request) -> RawBody:
    """The body as received from API Gateway, for an operation that decodes it itself."""
    return request.body
