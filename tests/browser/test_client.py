"""The browser client in a real browser: each tracked event is stored once, whatever happens to the page."""

import os
import signal
import time
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser, Page, Playwright, Route

from tests.support.browser import (
    ARGUMENTS,
    Server,
    Site,
    chromium_program,
    eventually,
    profile_processes,
    refuse,
    status,
)
from tests.support.web import WEB

QUIET: dict[str, Any] = {"flushMs": 100_000, "flushEvents": 100_000}
DAY_MS = 86_400_000


@pytest.fixture
def kind() -> str:
    """A new event type for each test, because tests share a database."""
    return f"counted_{uuid.uuid4().hex[:12]}"


def track(page: Page, kind: str, first: int, last: int) -> None:
    """Track events numbered from `first` up to but not including `last`, and wait until each is queued."""
    states = page.evaluate("([kind, first, last]) => many(kind, first, last)", [kind, first, last])
    assert set(states) == {"stored"}


def put_clock(page: Page, offset_ms: int) -> None:
    """Shift the page's clock."""
    page.add_init_script(
        f"""Date = class extends Date {{
          constructor(...given) {{ super(...(given.length ? given : [Date.now()])) }}
          static now() {{ return super.now() + {offset_ms} }}
        }}"""
    )


def consent_of(site: Site, **who: str) -> tuple[str, str | None]:
    """The consent decision stored on the server, with its version."""
    ((name, value),) = who.items()
    known = site.server.get(f"/v1/consent?{name}={value}")
    return known["status"], known["version"]


def test_an_event_is_stored_and_its_status_says_so(site: Site, kind: str) -> None:
    page = site.open(context={"appVersion": "1.2.3"})
    tracked = page.evaluate(f"muster.track('{kind}', 'tests', {{n: 1}})")
    assert tracked["state"] == "stored"
    eventually(page, lambda: status(page)["sent"], {"accepted": 1})
    assert site.server.events(kind) == [1]
    trace = site.server.get(f"/v1/diagnostics/events/{tracked['id']}")
    assert trace["found"]
    session = site.server.get(f"/v1/sessions/{status(page)['sessionId']}")
    assert (session["eventsCount"], session["isActive"]) == (1, True)


def test_offline_events_are_stored_when_the_network_is_back(site: Site, kind: str) -> None:
    page = site.open(retryMaxMs=60_000, retryMs=60_000)
    site.context.set_offline(True)
    track(page, kind, 0, 20)
    eventually(page, lambda: (status(page)["lastError"] or {}).get("code"), "network_error")
    assert status(page)["queued"] == 20
    site.context.set_offline(False)
    eventually(page, lambda: site.server.events(kind), list(range(20)))
    eventually(page, lambda: status(page)["queued"], 0)


def test_a_reload_loses_no_queued_event(site: Site, kind: str) -> None:
    page = site.context.new_page()
    page.add_init_script("navigator.sendBeacon = () => false")
    site.open(page=page, **QUIET)
    track(page, kind, 0, 30)
    site.open(page=page)
    eventually(page, lambda: site.server.events(kind), list(range(30)))
    eventually(page, lambda: status(page)["sent"], {"accepted": 30})


def test_two_tabs_share_a_session_and_its_sequence(site: Site, kind: str) -> None:
    first, second = site.open(), site.open()
    for n in range(0, 100, 10):
        track(first if n % 20 else second, kind, n, n + 10)
    eventually(first, lambda: site.server.events(kind), list(range(100)))
    eventually(first, lambda: status(first)["queued"], 0)
    assert status(first)["sessionId"] == status(second)["sessionId"]
    assert status(second)["sent"] == {"accepted": 100}
    report = site.server.get(f"/v1/diagnostics/sessions/{status(first)['sessionId']}")
    assert (report["eventsStored"], report["batches"]["missing"], report["batches"]["gaps"]) == (100, 0, [])
    numbers = [batch["sequence"] for batch in site.requests]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_busy_server_gets_the_same_batch_again_after_a_pause(site: Site, kind: str) -> None:
    refused: list[float] = []

    def twice(route: Route) -> None:
        refused.append(time.monotonic())
        if len(refused) <= 2:
            refuse(route)
        else:
            route.continue_()

    site.context.route("**/v1/events", twice)
    page = site.open()
    track(page, kind, 0, 5)
    eventually(page, lambda: site.server.events(kind), list(range(5)))
    eventually(page, lambda: status(page)["queued"], 0)
    assert refused[1] - refused[0] >= 1
    batches = [{**batch, "sentAt": None} for batch in site.requests]
    assert batches == [batches[0]] * 3
    assert len({batch["sentAt"] for batch in site.requests}) == 3


def test_nothing_is_sent_before_consent_or_after_withdrawal(site: Site, kind: str) -> None:
    page, other = site.open(consent="required"), site.open(consent="required")
    held = page.evaluate(f"muster.track('{kind}', 'tests', {{n: 0}})")
    assert held["state"] == "held"
    page.evaluate("muster.flush()")
    assert (site.requests, status(page)["reason"]) == ([], "consent_required")
    page.evaluate("muster.setConsent('granted', 'v1')")
    eventually(page, lambda: site.server.events(kind), [0])
    track(other, kind, 1, 2)
    eventually(page, lambda: site.server.events(kind), [0, 1])

    eventually(page, lambda: status(page)["queued"], 0)
    session = status(page)["sessionId"]
    assert consent_of(site, sessionId=session) == ("granted", "v1")
    site.context.route("**/v1/events", refuse)
    track(page, kind, 2, 5)
    page.evaluate("muster.setConsent('withdrawn', 'v2')")
    assert (status(other)["purged"], status(other)["queued"], status(other)["reason"]) == (3, 0, "consent_denied")
    site.context.unroute("**/v1/events")
    assert other.evaluate(f"muster.track('{kind}')")["state"] == "refused"
    eventually(page, lambda: consent_of(site, sessionId=session), ("withdrawn", "v2"))
    page.goto("about:blank")
    assert site.server.events(kind) == [0, 1]


def test_the_next_page_sends_a_withdrawal_that_did_not_arrive(site: Site, kind: str) -> None:
    page = site.open()
    page.evaluate(f"muster.identify('{kind}')")
    track(page, kind, 0, 1)
    eventually(page, lambda: site.server.events(kind), [0])
    site.context.set_offline(True)
    page.evaluate("muster.setConsent('withdrawn', 'v1')")
    eventually(page, lambda: (status(page)["lastError"] or {}).get("code"), "network_error")
    page.close()
    site.context.set_offline(False)
    page = site.open()
    eventually(page, lambda: consent_of(site, userId=kind), ("withdrawn", "v1"))
    assert (status(page)["userId"], status(page)["reason"]) == (None, "consent_denied")


def test_a_withdrawal_on_another_device_applies_on_this_one(
    browser: Browser, server: Server, site: Site, kind: str
) -> None:
    page = site.open(**QUIET)
    page.evaluate("muster.setConsent('granted', 'v1')")
    with browser.new_context() as context:
        elsewhere = Site(context, server, server.url)
        elsewhere.serve()
        second = elsewhere.open()
        second.evaluate(f"muster.identify('{kind}')")
        second.evaluate("muster.setConsent('withdrawn', 'v2')")
        eventually(second, lambda: consent_of(site, userId=kind), ("withdrawn", "v2"))
    page.evaluate(f"muster.identify('{kind}')")
    track(page, kind, 0, 3)
    page.evaluate("muster.flush()")
    eventually(page, lambda: status(page)["reason"], "consent_denied")
    final = status(page)
    assert (final["consent"], final["userId"], final["tracked"], final["purged"]) == ("withdrawn", None, 3, 3)
    assert (site.requests, site.server.events(kind)) == ([], [])


def test_do_not_track_is_respected_where_the_page_says_so(site: Site, kind: str) -> None:
    page = site.context.new_page()
    page.add_init_script("Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})")
    site.open(page=page, respectDoNotTrack=True)
    assert page.evaluate(f"muster.track('{kind}')")["state"] == "off"
    assert status(page)["reason"] == "do_not_track"
    assert page.evaluate("indexedDB.databases()") == []
    assert site.requests == []


def test_leaving_a_page_sends_a_beacon_and_keeps_the_remaining_queue(site: Site, kind: str) -> None:
    page = site.open(**QUIET)
    track(page, kind, 0, 600)
    page.goto("about:blank")
    eventually(page, lambda: len(site.server.events(kind)) > 100, True)
    left = site.server.events(kind)
    assert left == list(range(600 - len(left), 600))
    site.open(page=page)
    eventually(page, lambda: site.server.events(kind), list(range(600)))
    eventually(page, lambda: status(page)["queued"], 0)
    assert status(page)["sent"] == {"accepted": 600 - len(left), "duplicate": len(left)}


def test_a_tab_that_is_closed_right_after_an_event_delivers_it(site: Site, kind: str) -> None:
    site.open(**QUIET)
    page = site.open(**QUIET)
    track(page, kind, 0, 3)
    page.close(run_before_unload=True)
    eventually(site.context.pages[0], lambda: site.server.events(kind), [0, 1, 2])


@pytest.mark.parametrize("days", [-1.0, 0.95])
def test_a_clock_that_is_off_by_a_day_loses_no_event(site: Site, kind: str, days: float) -> None:
    page = site.context.new_page()
    put_clock(page, int(days * DAY_MS))
    site.open(page=page)
    track(page, kind, 0, 3)
    eventually(page, lambda: site.server.events(kind), [0, 1, 2])
    report = site.server.get(f"/v1/diagnostics/sessions/{status(page)['sessionId']}")
    assert abs(report["clockSkewMs"] + days * DAY_MS) < 60_000


def test_a_rejected_event_is_reported_and_not_sent_again(site: Site, kind: str) -> None:
    page = site.context.new_page()
    put_clock(page, 2 * DAY_MS)
    site.open(page=page, init="onRejected: (rejected) => { window.rejected = rejected }")
    track(page, kind, 0, 1)
    page.wait_for_function("window.rejected")
    (rejected,) = page.evaluate("rejected")
    assert (rejected["reason"], rejected["event"]["data"]) == ("timestamp_out_of_range", {"n": 0})
    assert status(page)["rejected"] == {"timestamp_out_of_range": 1}
    assert status(page)["queued"] == 0
    found = site.server.get(f"/v1/diagnostics/rejections?eventId={rejected['event']['id']}")["rejections"]
    assert [each["reason"] for each in found] == ["timestamp_out_of_range"]


def test_without_browser_storage_events_are_queued_in_memory(site: Site, kind: str) -> None:
    page = site.context.new_page()
    page.add_init_script(
        "for (const name of ['indexedDB', 'localStorage'])"
        "  Object.defineProperty(window, name, {get() { throw new DOMException('blocked', 'SecurityError') }})"
    )
    site.open(page=page)
    assert page.evaluate(f"muster.track('{kind}', 'tests', {{n: 1}})")["state"] == "memory"
    eventually(page, lambda: site.server.events(kind), [1])
    assert status(page)["storage"] == "memory"


def test_a_wrong_key_is_reported_once_and_keeps_the_queue(site: Site, kind: str) -> None:
    page = site.context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.text.startswith("Muster") else None)
    site.open(page=page, key="mw_" + "0" * 40)
    track(page, kind, 0, 3)
    eventually(page, lambda: status(page)["reason"], "invalid_key")
    track(page, kind, 3, 5)
    assert len(said) == 1
    assert "invalid_key" in said[0]
    assert status(page)["queued"] == 5
    site.open(page=page)
    eventually(page, lambda: site.server.events(kind), list(range(5)))


def test_a_page_on_another_origin_sends_through_cors(site: Site, kind: str) -> None:
    elsewhere = Site(site.context, site.server, "http://127.0.0.1:9")
    elsewhere.serve()
    # What a route answers is of no network; from there a page may reach this machine only if people say so.
    site.context.grant_permissions(["local-network-access"], origin=elsewhere.origin)
    page = elsewhere.open(**QUIET)
    track(page, kind, 0, 2)
    page.evaluate("muster.flush()")
    eventually(page, lambda: site.server.events(kind), [0, 1])
    track(page, kind, 2, 4)
    # Simulate leaving the page: the browser cannot ask a closed page for that permission.
    page.evaluate("dispatchEvent(new Event('pagehide'))")
    eventually(page, lambda: site.server.events(kind), [0, 1, 2, 3])


def test_a_page_keeps_its_queue_until_its_origin_is_allowed(fragile_site: Site, fragile: Server, kind: str) -> None:
    elsewhere = Site(fragile_site.context, fragile, "http://127.0.0.1:9")
    elsewhere.serve()
    elsewhere.context.grant_permissions(["local-network-access"], origin=elsewhere.origin)
    allow_origins(fragile, "https://app.example.com")
    page = elsewhere.open()
    track(page, kind, 0, 2)
    # The refusal has no header by which a browser would let the page read it.
    eventually(page, lambda: (status(page)["lastError"] or {}).get("code"), "network_error")
    assert (status(page)["queued"], fragile.events(kind)) == (2, [])
    allow_origins(fragile, elsewhere.origin)
    # A process believes what it has read for a minute.
    fragile.kill()
    fragile.start()
    fragile.wait()
    eventually(page, lambda: fragile.events(kind), [0, 1])
    eventually(page, lambda: status(page)["sent"], {"accepted": 2})


def allow_origins(server: Server, origin: str) -> None:
    """Allow only pages on this origin to use the project's keys."""
    with psycopg.connect(server.database_url) as connection:
        connection.execute("UPDATE muster.projects SET allowed_origins = %s", [[origin]])


def first_html_of(file: str, site: Site) -> str:
    """What a reader of it copies, with this API and its key put in."""
    text = (WEB.parent / file).read_text("utf-8")
    snippet = text.partition("```html\n")[2].partition("```")[0]
    key = site.server.project.keys["write"]
    assert "https://YOUR-API" in snippet
    return snippet.replace("https://YOUR-API", site.origin).replace("YOUR-WRITE-KEY", key)


def test_the_readme_snippet_works_unchanged(site: Site) -> None:
    page = site.context.new_page()
    page.goto(site.put("/readme", first_html_of("README.md", site)))
    eventually(page, lambda: status(page)["sent"], {"accepted": 2})
    stored = [(event["eventType"], event.get("data")) for batch in site.requests for event in batch["events"]]
    assert ("signed_up", {"plan": "pilot"}) in stored
    assert {name for name, _ in stored} == {"page_view", "signed_up"}


def test_events_before_the_docs_script_loads_keep_their_time(site: Site, kind: str) -> None:
    snippet = first_html_of("docs/browser.md", site)
    waiting: list[Route] = []

    def wait(route: Route) -> None:
        waiting.append(route)

    site.context.route(f"{site.origin}/muster.js", wait)
    page = site.context.new_page()
    page.goto(site.put("/snippet", snippet), wait_until="commit")
    page.evaluate(f"void muster.track('{kind}', 'tests', {{n: 1}}).then((tracked) => {{ window.tracked = tracked }})")
    page.wait_for_timeout(300)
    before = page.evaluate("Date.now()")
    waiting[0].fulfill(path=WEB / "client" / "dist" / "muster.js", content_type="text/javascript")
    page.wait_for_function("window.tracked")
    page.evaluate("muster.flush()")
    eventually(page, lambda: site.server.events(kind), [1])
    moments = {each["eventType"]: each["timestamp"] for batch in site.requests for each in batch["events"]}
    assert moments.keys() == {"page_view", kind}
    for moment in moments.values():
        assert datetime.fromisoformat(moment).timestamp() * 1000 < before - 200


def test_a_script_tag_works_under_a_strict_policy_with_one_global(site: Site) -> None:
    policy = {"content-security-policy": "default-src 'none'; script-src 'self'; connect-src 'self'"}
    said: list[str] = []
    page = site.context.new_page()
    page.on("console", lambda message: said.append(message.text) if "policy" in message.text.lower() else None)
    bare = site.put("/bare", "", headers=policy)
    page.goto(bare)
    before = set(page.evaluate("Object.getOwnPropertyNames(window)"))
    said.clear()  # of the test's own script
    key = site.server.project.keys["write"]
    page.goto(site.put("/strict", f'<script src="/muster.js" data-key="{key}"></script>', headers=policy))
    page.evaluate("muster.flush()")
    assert set(page.evaluate("Object.getOwnPropertyNames(window)")) - before == {"muster"}
    eventually(page, lambda: status(page)["sent"], {"accepted": 1})
    assert [batch["events"][0]["eventType"] for batch in site.requests] == ["page_view"]
    assert site.requests[0]["events"][0]["area"] == "/strict"
    assert len(said) == 1, said  # the same one again


def test_a_new_session_starts_after_30_minutes_without_an_event(site: Site, kind: str) -> None:
    page = site.open()
    track(page, kind, 0, 1)
    first = status(page)["sessionId"]
    later = site.context.new_page()
    put_clock(later, 31 * 60_000)
    site.open(page=later)
    track(later, kind, 1, 2)
    assert status(later)["sessionId"] != first
    eventually(page, lambda: site.server.events(kind), [0, 1])


def test_a_page_restored_from_the_cache_continues(playwright: Playwright, server: Server, kind: str) -> None:
    with (
        playwright.chromium.launch(
            executable_path=chromium_program(), args=ARGUMENTS, ignore_default_args=["--disable-back-forward-cache"]
        ) as browser,
        browser.new_context() as context,
    ):
        site = Site(context, server, server.url)
        site.serve()
        # Chromium keeps no page that has lately held a lock, as one does that has just sent something.
        page = site.open(**QUIET)
        page.evaluate("window.isTheSame = true")
        track(page, kind, 0, 1)
        page.goto(site.put("/other", ""))
        page.evaluate("history.back()")
        page.wait_for_url("**/page", wait_until="commit")
        assert page.evaluate("window.isTheSame"), "the page was not in the cache"
        track(page, kind, 1, 2)
        page.evaluate("muster.flush()")
        eventually(page, lambda: server.events(kind), [0, 1])


def test_a_killed_browser_loses_no_acknowledged_event(
    playwright: Playwright, browser: Browser, server: Server, kind: str, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "executable_path": chromium_program(), "args": ARGUMENTS,
    }  # fmt: skip
    context = playwright.chromium.launch_persistent_context(tmp_path / "profile", **options)
    site = Site(context, server, server.url)
    site.serve()
    page = site.open(**QUIET)
    track(page, kind, 0, 50)
    for process in profile_processes(tmp_path / "profile"):
        os.kill(process, signal.SIGKILL)
    assert server.events(kind) == []
    with playwright.chromium.launch_persistent_context(tmp_path / "profile", **options) as again:
        site = Site(again, server, server.url)
        site.serve()
        page = site.open()
        eventually(page, lambda: server.events(kind), list(range(50)))
        eventually(page, lambda: status(page)["sent"], {"accepted": 50})
