"""A function's table of routes, and the path matcher.

API Gateway has already chosen the function, which has only a few routes. A framework's router would cost a cold start
100 ms of CPU. This module does not import the database, because the function `web` and the local gateway use it too.
"""

import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from muster.auth.permissions import PERMISSIONS

if TYPE_CHECKING:
    from muster.http.request import Request
    from muster.http.response import Response
    from muster.platform.errors import MusterError

ANY = "ANY"
"""The method of a route for every method."""
DEFAULT_PATH = "$default"
"""The path of a route for every path."""


@dataclass(frozen=True)
class Route:
    """One route: its method and path, its operation, and the models of its request and response.

    A reference is a string such as "muster.metrics.request:parse_metrics_request". The first request that needs it
    resolves it, so a cold start imports only what that request needs. The handler calls

        respond(AnalyticsService.<operation>(read(request)))
    """

    method: str
    path: str
    """{name} matches one segment, {name+} the rest of the path."""
    operation: str
    """The operation's name in PERMISSIONS, in AnalyticsService and, as operationId, in the API's description."""
    summary: str
    read: str | None = None
    """Reference to the function that turns the Request into the operation's request model; None if it has none."""
    query: str | None = None
    """Reference to the QueryModel that `read` parses the query string into."""
    body: str | None = None
    """Reference to the model that `read` parses the body into."""
    is_body_optional: bool = False
    answers: str | Mapping[int, str] | None = None
    """Reference to the response's model, which may be a union; or one reference for each status."""
    errors: Sequence["type[MusterError]"] = ()
    """Errors that only this route has. The API's description adds the errors of its key, `read` and body."""
    status: int = HTTPStatus.OK
    respond: str | None = None
    """Reference to a function that turns the operation's result into a Response; by default, the result as JSON."""
    content_types: Sequence[str] = ("application/json",)
    """The content types of the response."""
    keys_only: bool = False
    """Whether the second API, which accepts logins, omits the route. It always omits routes that need no key."""
    handle: "Callable[[Request], Response] | None" = None
    """A function that makes the response without an operation: for files and preflight requests."""

    def __post_init__(self) -> None:
        if self.operation not in PERMISSIONS:
            raise LookupError(
                f"The operation {self.operation} is not in PERMISSIONS. Add it, with the kinds of key that it allows, "
                "in muster/auth/permissions.py."
            )

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of key that the operation allows; empty if it needs no key."""
        return PERMISSIONS[self.operation]

    @property
    def takes_logins(self) -> bool:
        """Whether the second API, which accepts logins, has the route."""
        return bool(self.kinds) and not self.keys_only

    @property
    def key(self) -> str:
        """The method and the path, with {name+} written as {name}: "GET /v1/subjects/{userId}"."""
        return f"{self.method} {self.path.replace('+}', '}')}"


class Routes:
    """The routes of one function. The API's description groups them under `tag`."""

    def __init__(self, tag: str, routes: Sequence[Route]) -> None:
        self.tag = tag
        self._routes = tuple(routes)
        self._matcher = Matcher(self._routes)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route of a decoded path, with its path parameters; None if no route matches."""
        return self._matcher.find(method, path)


@cache
def resolve(reference: str) -> Any:
    """The object that a reference names. The first call imports its module."""
    return pkgutil.resolve_name(reference)


class _Matched(Protocol):
    @property
    def method(self) -> str: ...

    @property
    def path(self) -> str: ...


R = TypeVar("R", bound=_Matched)


class Matcher(Generic[R]):
    """Finds the route of a request by the rules of API Gateway's HTTP APIs.

    The most specific path wins: fixed segments before {name}, {name+} and $default; then a method before ANY.
    """

    def __init__(self, routes: Iterable[R]) -> None:
        patterns = sorted((_Pattern(route) for route in routes), key=lambda pattern: pattern.rank)
        self._fixed = {(each.route.method, each.route.path): each.route for each in patterns if each.is_fixed}
        self._patterns = [each for each in patterns if not each.is_fixed]

    def find(self, method: str, path: str) -> tuple[R, dict[str, str]] | None:
        """The route of a decoded path, with its path parameters; None if no route matches."""
        fixed = self._fixed.get((method, path)) or self._fixed.get((ANY, path))
        if fixed is not None:
            return fixed, {}
        for pattern in self._patterns:
            if pattern.route.method in (method, ANY) and (match := pattern.expression.fullmatch(path)):
                return pattern.route, dict(zip(pattern.names, match.groups(), strict=True))
        return None


class _Pattern(Generic[R]):
    def __init__(self, route: R) -> None:
        self.route = route
        self.is_fixed = "{" not in route.path and route.path != DEFAULT_PATH

    @property
    def names(self) -> list[str]:
        return re.findall(r"\{([^}+]+)\+?\}", self.route.path)

    @cached_property
    def expression(self) -> re.Pattern[str]:
        if self.route.path == DEFAULT_PATH:
            return re.compile(".*", re.DOTALL)
        parts = re.split(r"(\{[^}]+\})", self.route.path)
        return re.compile("".join(map(_to_expression, parts)), re.DOTALL)

    @property
    def rank(self) -> tuple[bool, list[int], bool]:
        kinds = [2 if part.endswith("+}") else int("{" in part) for part in self.route.path.split("/")]
        return (self.route.path == DEFAULT_PATH, kinds, self.route.method == ANY)


def _to_expression(part: str) -> str:
    if part.startswith("{"):
        return "(.+)" if part.endswith("+}") else "([^/]+)"
    return re.escape(part)
