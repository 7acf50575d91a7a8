"""Pages in a real browser that hold the client, on an API that can be killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Route

from local.ports import free_port
from tests.support.databases import Project
from tests.support.functions import BROWSER
from tests.support.http import http
from tests.support.web import WEB, miss

PROJECT = WEB.parent
SCREENSHOTS = PROJECT / ".muster" / "screenshots"
SETTLE_SECONDS = 120.0
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    # A headless browser calls itself so, and is a bot to the server; a context's own name is not on its beacons.
    f"--user-agent={BROWSER}",
]  # fmt: skip
# So that a test does not wait as long as a person would.
HASTE = {"flushMs": 50, "retryMs": 50, "retryMaxMs": 400}
HTML = """<!doctype html><meta charset="utf-8"><title>A page</title>%s
<script>
  const many = (type, from, to) => Promise.all(Array.from({length: to - from}, (_, n) =>
    muster.track(type, "tests", {n: from + n}))).then((all) => all.map(({state}) => state));
</script>
<h1>A page</h1>"""


def chromium_program() -> str:
    """The browser's program; CHROMIUM names another."""
    named = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    found = shutil.which(named)
    if found is None:
        miss(f"there is no {named}: install Debian's chromium, or name a Chromium with CHROMIUM=…")
    return str(found)


def launch(playwright: Playwright) -> Browser:
    """The browser, as it is everywhere in these tests."""
    return playwright.chromium.launch(executable_path=chromium_program(), args=ARGUMENTS)


@dataclass
class Server:
    """The API in processes of its own, on a port that stays."""

    database_url: str
    project: Project
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; it may take requests a moment later."""
        command = [
            sys.executable, "-m", "local.gateway.server", "--port", str(self.port), "--parameter", "Stage=test",
            "--parameter", "DatabaseMode=external", "--env", f"DATABASE_URL={self.database_url}",
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": "layers/shared"}
        self._process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True)

    def wait(self) -> None:
        """Return once it listens."""
        assert self._process is not None
        assert self._process.stdout is not None
        assert "Serving" in self._process.stdout.readline()

    def kill(self) -> None:
        """End it with all that it does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def get(self, path: str) -> Any:
        """What the API says of the project."""
        headers = {"authorization": f"Bearer {self.project.keys['read']}"}
        return http.get(f"{self.url}{path}", headers=headers).raise_for_status().json()

    def events(self, event_type: str) -> list[int]:
        """The numbers of the events of a type that are stored, however often."""
        with psycopg.connect(self.database_url) as connection:
            rows = connection.execute(
                "SELECT (data ->> 'n')::int FROM muster.analytics_events WHERE event_type = %s ORDER BY 1", [event_type]
            )
            return [row[0] for row in rows]


@contextmanager
def serving(database_url: str, project: Project) -> Iterator[Server]:
    """A server that is up."""
    server = Server(database_url, project)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@dataclass
class Site:
    """One browser profile on one site. Its pages use the client."""

    context: BrowserContext
    server: Server
    origin: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of batches that were sent by fetch."""

    def serve(self) -> None:
        """Answer for the site: its pages come from here, and all else goes to the server."""
        script = (WEB / "client" / "dist" / "muster.js").read_text("utf-8")
        self.context.route(
            f"{self.origin}/muster.js", lambda route: route.fulfill(body=script, content_type="text/javascript")
        )
        self.context.on("request", self._note)

    def _note(self, request: Any) -> None:
        if request.url.endswith("/v1/events") and request.method == "POST":
            self.requests.append(json.loads(request.post_data))

    def put(self, path: str, head: str, **answer: Any) -> str:
        """A page of the site; its address."""
        address = f"{self.origin}{path}"
        self.context.unroute(address)
        self.context.route(
            address, lambda route: route.fulfill(body=HTML % head, content_type="text/html; charset=utf-8", **answer)
        )
        return address

    def open(self, *, page: Page | None = None, path: str = "/page", init: str = "", **options: Any) -> Page:
        """A tab with a page whose client has these options; `init` is more of them, as JavaScript."""
        given = {"url": self.server.url, "key": self.server.project.keys["write"], **HASTE, **options}
        start = f"<script>muster.init({{...{json.dumps(given)}, {init}}})</script>"
        address = self.put(path, f'<script src="/muster.js"></script>{start}')
        page = page or self.context.new_page()
        page.goto(address)
        return page


def status(page: Page) -> dict[str, Any]:
    """What the page's client says."""
    return dict(page.evaluate("muster.status()"))


def eventually(page: Page, look: Callable[[], Any], expected: Any) -> None:
    """Wait for what the page still has to do, while the browser's requests are attended to."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (found := look()) != expected:
        assert time.monotonic() < deadline, f"{found!r} is not {expected!r}"
        page.wait_for_timeout(30)


def refuse(route: Route) -> None:
    """Answer for a server without its database."""
    error = {"code": "database_unavailable", "message": "Send it again.", "requestId": "1", "details": []}
    route.fulfill(status=503, headers={"retry-after": "1"}, json={"error": error})


def screenshot(page: Page, name: str) -> None:
    """Keep a picture for people."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def profile_processes(profile: Path) -> list[int]:
    """The browser's processes that use a profile."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
        except (OSError, NotADirectoryError):
            continue
        if entry.name.isdigit() and f"--user-data-dir={profile}".encode() in command:
            found.append(int(entry.name))
    return found
