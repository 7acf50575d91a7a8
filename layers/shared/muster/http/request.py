"""One request, as an HTTP API of API Gateway hands it over in its payload format 2.0."""

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
        # API Gateway writes their names small; sam local does not.
        self._headers = headers if "".join(headers).islower() else {name.lower(): headers[name] for name in headers}
        self.origin: str | None = self._headers.get("origin")
        """The web page that sends it, where a browser says so."""
        self.is_origin_refused = False
        self.key_used: bytes | None = None
        """The hash of the key that its route has acted by; none until then, and on routes that need none."""

    @property
    def route_key(self) -> str | None:
        """The route by the gateway's name."""
        return self._event.get("routeKey")

    def header(self, name: str) -> str | None:
        """A header by its name in small letters; None where it was not sent."""
        return self._headers.get(name)

    @property
    def claims(self) -> Mapping[str, Any] | None:
        """What the gateway has read of a token that it verified; only the gateway writes there."""
        authorizer: Mapping[str, Any] = self._event["requestContext"].get("authorizer") or {}
        found: Mapping[str, Any] | None = (authorizer.get("jwt") or {}).get("claims")
        return found

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's parameters, all values of each, without the key."""
        found: dict[str, list[str]] = {}
        for name, value in self._parameters():
            if name != "key":
                found.setdefault(name, []).append(value)
        return found

    @property
    def body(self) -> RawBody:
        """The body as API Gateway handed it over."""
        return RawBody(
            content=self._event.get("body"),
            is_base64=bool(self._event.get("isBase64Encoded")),
            content_type=self.header("content-type"),
            content_encoding=self.header("content-encoding"),
            content_length=self.header("content-length"),
        )

    @property
    def key(self) -> str | None:
        """The key that came with it: as a bearer token, as the user name of basic authentication, or in the query.

        Raises:
            InvalidKey: what came is none of these.
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
    """The body as API Gateway handed it over, for an operation that reads it itself."""
    return request.body
