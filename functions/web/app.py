"""Serves files: the dashboard, the browser client and the API's description. It has no access to the database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from muster.api.routing import Route, Routes
from muster.api.static_files import file_response, lambda_handler_for_files
from muster.platform.errors import NotFound

if TYPE_CHECKING:
    from muster.http.request import Request
    from muster.http.response import Response

HERE = Path(__file__).parent
BUILT = HERE / "static"
# Limits injected code: the page can load and send nothing across origins, and no page can frame it.
POLICY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
# Any site may load the client, including a site with Cross-Origin-Embedder-Policy.
FOR_ALL_SITES = {"cross-origin-resource-policy": "cross-origin"}


def get_dashboard(request: Request) -> Response:
    """The dashboard, or a page that says how to build it."""
    page = BUILT / "index.html"
    return file_response(request, page if page.exists() else HERE / "not-built.html", headers=POLICY)


def get_asset(request: Request) -> Response:
    """A file of the dashboard. Its name changes with its content, so it can be cached forever."""
    # The path is decoded, so the name may have slashes; only the last part counts.
    name = Path(request.path_parameters["name"]).name
    return file_response(request, BUILT / "assets" / name, is_immutable=True)


def get_client(request: Request) -> Response:
    """The browser client, for a script tag."""
    return file_response(request, BUILT / "muster.js", headers=FOR_ALL_SITES)


def get_description(request: Request) -> Response:
    """The API's description."""
    packed = BUILT / "openapi.json"
    return file_response(request, packed if packed.exists() else HERE / "openapi.json", headers=FOR_ALL_SITES)


HTML, SCRIPT, JSON = ("text/html",), ("text/javascript",), ("application/json",)
ROUTES = Routes(
    "Web",
    [
        Route("GET", "/", "get_dashboard", "The dashboard", handle=get_dashboard, content_types=HTML),
        Route(
            "GET",
            "/assets/{name}",
            "get_asset",
            "A file of the dashboard",
            handle=get_asset,
            content_types=SCRIPT,
            errors=(NotFound,),
        ),
        Route(
            "GET",
            "/muster.js",
            "get_client",
            "The browser client",
            handle=get_client,
            content_types=SCRIPT,
            errors=(NotFound,),
        ),
        Route(
            "GET",
            "/openapi.json",
            "get_description",
            "This description",
            handle=get_description,
            content_types=JSON,
        ),
    ],
)

lambda_handler = lambda_handler_for_files(ROUTES)
