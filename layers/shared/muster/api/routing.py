"""A function's table of routes, and the one matcher of paths.

API Gateway has found the function already; finding the route among the function's few takes one look into a table.
A framework's resolver would cost a cold start 100 ms of CPU.

This module imports no database: the function `web` and the local gateway use it too.
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
"""The method of a route that takes every method."""
DEFAULT_PATH = "$default"
"""The path of a route that takes every path."""


@dataclass(frozen=True)
class Route:
    """One route: its method and path, the operation behind it, and the models that it reads and answers.

    A reference is a text such as "muster.metrics.request:parse_metrics_request". It is resolved at the first request
    that needs it, so that a cold start imports what its one route needs and nothing else. The handler calls

        respond(AnalyticsService.<operation>(read(request)))
    """

    method: str
    path: str
    """{name} stands for one segment, {name+} for the rest of the path."""
    operation: str
    """Its name in PERMISSIONS, in AnalyticsService and, as operationId, in the API's description."""
    summary: str
    read: str | None = None
    """Reference to a function that turns the Request into the operation's request model.

    Absent where the operation takes none.
    """
    query: str | None = None
    """Reference to the QueryModel that `read` reads the query string into."""
    body: str | None = None
    """Reference to the model that `read` reads the body into."""
    is_body_optional: bool = False
    answers: str | Mapping[int, str] | None = None
    """Reference to the response's model, which may be a union, or one reference for each status."""
    errors: Sequence["type[MusterError]"] = ()
    """The errors of this route alone. The API's description adds those that a key, `read` and a body bring."""
    status: int = HTTPStatus.OK
    respond: str | None = None
    """Reference to a function that turns the operation's value into a Response; JSON of the value by default."""
    content_types: Sequence[str] = ("application/json",)
    """Of the response."""
    keys_only: bool = False
    """Whether the second API, which takes logins, leaves the route out. It never has routes that need no key."""
    handle: "Callable[[Request], Response] | None" = None
    """A plain function that answers in place of an operation: for files, and for a browser's preflight request."""

    def __post_init__(self) -> None:
        if self.operation not in PERMISSIONS:
            raise LookupError(
                f"The operation {self.operation} is not in PERMISSIONS of muster/auth/permissions.py; "
                "list there the kinds of key that it allows."
            )

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of key that the operation allows; empty where it needs none."""
        return PERMISSIONS[self.operation]

    @property
    def takes_logins(self) -> bool:
        """Whether the second API, which takes logins, has the route."""
        return bool(self.kinds) and not self.keys_only

    @property
    def key(self) -> str:
        """The method and the path, a rest written as one segment: "GET /v1/subjects/{userId}"."""
        return f"{self.method} {self.path.replace('+}', '}')}"


class Routes:
    """The routes of one function; the API's description lists them under `tag`."""

    def __init__(self, tag: str, routes: Sequence[Route]) -> None:
        self.tag = tag
        self._routes = tuple(routes)
        self._matcher = Matcher(self._routes)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route of a decoded path with its path parameters; None where there is none."""
        return self._matcher.find(method, path)


@cache
def resolve(reference: str) -> Any:
    """What a reference names; its module is imported when it is first asked for."""
    return pkgutil.resolve_name(reference)


class _Matched(Protocol):
    @property
    def method(self) -> str: ...

    @property
    def path(self) -> str: ...


R = TypeVar("R", bound=_Matched)


class Matcher(Generic[R]):
    """Finds the route of a request among any with a method and a path, as an HTTP API of API Gateway does.

    The most specific path wins: fixed segments before {name} before {name+} before $default, then a method before ANY.
    """

    def __init__(self, routes: Iterable[R]) -> None:
        patterns = sorted((_Pattern(route) for route in routes), key=lambda pattern: pattern.rank)
        self._fixed = {(each.route.method, each.route.path): each.route for each in patterns if each.is_fixed}
        self._patterns = [each for each in patterns if not each.is_fixed]

    def find(self, method: str, path: str) -> tuple[R, dict[str, str]] | None:
        """The route of a decoded path with its path parameters; None where there is none."""
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
        return re.compile("".join(map(_expression_of, parts)), re.DOTALL)

    @property
    def rank(self) -> tuple[bool, list[int], bool]:
        kinds = [2 if part.endswith("+}") else int("{" in part) for part in self.route.path.split("/")]
        return (self.route.path == DEFAULT_PATH, kinds, self.route.method == ANY)


def _expression_of(part: str) -> str:
    if part.startswith("{"):
        return "(.+)" if part.endswith("+}") else "([^/]+)"
    return re.escape(part)
