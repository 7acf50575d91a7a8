"""Fixtures: a browser, a server and a site."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.support.browser import Server, Site, launch, serving
from tests.support.dashboard import Dashboard, Open, look
from tests.support.databases import Cluster, Project, make_project
from tests.support.web import node


# Not for the session: while it is open this thread has an event loop, which other tests must not find.
@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """The browser driver."""
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """Debian's Chromium."""
    node("node", "build.mjs")
    with launch(playwright) as launched:
        yield launched


@pytest.fixture(scope="module")
def server(postgres: Cluster) -> Iterator[Server]:
    """The API on a database of this module."""
    with postgres.database() as url, serving(url, make_project(url)) as started:
        yield started


@pytest.fixture
def fragile(database_url: str, project: Project) -> Iterator[Server]:
    """An API that a test may kill, on its own database."""
    with serving(database_url, project) as started:
        yield started


@pytest.fixture
def site(browser: Browser, server: Server) -> Iterator[Site]:
    """A site on the API's origin, in a new browser profile."""
    yield from _site(browser, server)


@pytest.fixture
def fragile_site(browser: Browser, fragile: Server) -> Iterator[Site]:
    """A site with an API that the test may kill."""
    yield from _site(browser, fragile)


def _site(browser: Browser, server: Server) -> Iterator[Site]:
    with browser.new_context() as context:
        made = Site(context, server, server.url)
        made.serve()
        yield made


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    """Opens dashboards, and fails if one logged an error or asked another host."""
    made: list[Dashboard] = []

    def open_one(server: Server, kind: str | None = "read", **options: Any) -> Dashboard:
        made.append(look(browser, server, kind, **options))
        return made[-1]

    yield open_one
    for each in made:
        assert each.unexpected() == []
        assert each.hosts <= {f"127.0.0.1:{each.server.port}"}
        each.context.close()
