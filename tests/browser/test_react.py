"""The React binding, tested through its example page."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.support.browser import Site, eventually, screenshot
from tests.support.web import WEB, node


def answer(site: Site, address: re.Pattern[str], file: Path, kind: str) -> None:
    """Serve a file at addresses."""
    body = file.read_text("utf-8")
    site.context.route(address, lambda route: route.fulfill(body=body, content_type=kind))


@pytest.fixture
def page(site: Site, tmp_path: Path) -> Page:
    """The example page, connected to the test's server."""
    node(
        "npx", "esbuild", "react/example/main.tsx", "--bundle", "--format=esm", "--jsx=automatic",
        f"--outfile={tmp_path / 'main.js'}", "--log-level=error",
    )  # fmt: skip
    answer(site, re.compile(r"/main\.js$"), tmp_path / "main.js", "text/javascript")
    answer(site, re.compile(r"/example\.css$"), WEB / "react" / "example" / "example.css", "text/css")
    answer(site, re.compile(r"/\?url="), WEB / "react" / "example" / "index.html", "text/html")
    opened = site.context.new_page()
    opened.goto(f"{site.origin}/?url={site.origin}&key={site.server.project.keys['write']}")
    return opened


def shown(page: Page, name: str) -> str:
    """A value that the page shows about the client."""
    return page.locator(f"dt:text-is('{name}') + dd").inner_text()


def test_the_example_asks_sends_and_traces_its_events(site: Site, page: Page) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))

    # Strict mode mounts everything twice, and so the page is viewed twice.
    eventually(page, lambda: shown(page, "Held for consent"), "2")
    assert shown(page, "Enabled") == "no: consent_required"
    screenshot(page, "react-asks-for-consent")
    page.get_by_role("button", name="Yes").click()
    eventually(page, lambda: shown(page, "Sent"), "2 accepted")
    page.get_by_role("button", name="Log in as ada").click()
    page.get_by_role("button", name="Choose a plan").click()
    eventually(page, lambda: shown(page, "Sent"), "3 accepted")
    assert (shown(page, "Enabled"), shown(page, "User"), shown(page, "Queued on this device")) == ("yes", "ada", "0")
    screenshot(page, "react-sent")
    assert site.server.get("/v1/consent?userId=ada")["status"] == "granted"
    session = site.server.get(f"/v1/sessions/{shown(page, 'Session')}")
    assert (session["userId"], session["eventsCount"]) == ("ada", 3)
    assert [batch["userId"] for batch in site.requests] == [None, "ada"]
    assert [line for line in said if "Muster" in line or "muster" in line] == []
