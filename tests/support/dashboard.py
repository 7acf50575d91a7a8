"""The dashboard in a browser, with a record of its errors and requests."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, expect

from tests.support.browser import SCREENSHOTS, Server
from tests.support.http import http
from tests.support.web import WEB

AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = ("serious", "critical")
UNSTEADY = "ERR_NETWORK_CHANGED"
ZONE = "Europe/Berlin"
SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


@dataclass
class Dashboard:
    """One tab with a key of a project."""

    context: BrowserContext
    server: Server
    kind: str | None = "read"
    """None opens it without a key."""
    faults: list[str] = field(default_factory=list)
    """Errors that the browser reported."""
    _loads: int = 0
    expected: str = ""
    """Texts of errors that the test provokes."""
    hosts: set[str] = field(default_factory=set)
    """The hosts that it sent requests to."""

    def __post_init__(self) -> None:
        if self.kind is not None:
            key = json.dumps(self.server.project.keys[self.kind])
            self.context.add_init_script(f"sessionStorage.setItem('muster.key', {key})")
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url))

    def _hear(self, said: ConsoleMessage) -> None:
        if said.type == "error" and UNSTEADY not in said.text:
            self.faults.append(f"{said.text} {said.location['url']}")

    def unexpected(self) -> list[str]:
        """Errors that the browser reported and the test did not provoke."""
        return [fault for fault in self.faults if not self.expected or self.expected not in fault]

    def _note(self, url: str) -> None:
        if not url.startswith(("blob:", "data:")):
            self.hosts.add(urlsplit(url).netloc)

    def open(self, address: str, *, is_settled: bool = True) -> Page:
        """Open the page at an address after the # and wait until it is complete."""
        self._loads += 1
        # With another query, because a new fragment alone does not load the page again.
        url = f"{self.server.url}/?{self._loads}#/{address}"
        try:
            self.page.goto(url)
        except Error as error:
            # Every browser on this machine reports a change of its network interfaces.
            if UNSTEADY not in error.message:
                raise
            self.page.goto(url)
        if is_settled:
            self.settle()
        return self.page

    def settle(self) -> None:
        """Wait until no request is open."""
        self.page.locator("main").wait_for()
        expect(self.page.locator(".skeleton, [aria-busy=true]")).to_have_count(0, timeout=60_000)

    def ask(self, path: str, kind: str = "read", method: str = "GET", body: Any = None) -> Any:
        """The API's response to the same request."""
        headers = {"authorization": f"Bearer {self.server.project.keys[kind]}"}
        url = f"{self.server.url}{path}"
        answer = http.request(method, url, headers=headers, json=body)
        return answer.raise_for_status().json()

    def table(self, caption: str) -> list[list[str]]:
        """The rows of a table, as texts."""
        rows = self.page.get_by_role("table", name=caption, exact=True).locator("tbody tr")
        return [[cell.strip() for cell in row] for row in rows.evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
        )]  # fmt: skip

    def findings(self) -> list[str]:
        """The serious and critical violations that axe finds."""
        self.page.evaluate(AXE.read_text("utf-8"))
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{each['id']}: {each['nodes'][0]['html'][:200]} {each['nodes'][0]['failureSummary'][:300]}"
            for each in found["violations"]
            if each["impact"] in SERIOUS
        ]

    def overflow(self) -> int:
        """By how many pixels the page is wider than the screen."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def keep(self, name: str) -> None:
        """Save a screenshot."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"dashboard-{name}.png", full_page=True)


Open = Callable[..., Dashboard]
"""Opens a dashboard of a server, with a key of a kind."""


def look(browser: Browser, server: Server, kind: str | None = "read", **options: Any) -> Dashboard:
    """A dashboard in a profile of its own."""
    return Dashboard(
        browser.new_context(locale="en-GB", timezone_id=ZONE, reduced_motion="reduce", **options), server, kind
    )


def number(value: float) -> str:
    """A whole number with thousands separators."""
    return f"{value:,.0f}"


def seconds(text: str) -> float:
    """The seconds of a duration that is shown as `2m 28s`."""
    return sum(float(value) * SECONDS[unit] for value, unit in re.findall(r"([\d.]+)([dhms])", text))
