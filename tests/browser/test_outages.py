"""A page tracks a thousand events while the server dies, the network fails and the page is reloaded."""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from playwright.sync_api import Error, Page, Route

from tests.support.browser import Server, Site, eventually, screenshot, status

EVENTS = 1_000
CHUNK = 25
SEED = 5


class Storm:
    """Faults of the server, the network and the page between the events."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.page = site.open()
        self.other = site.open(path="/other")
        self.rng = random.Random(seed)  # noqa: S311 - faults, not secrets
        self.is_up = True
        self.is_online = True
        self.is_heard = True
        self.lost = 0
        """Batches that were committed before their response was lost."""
        self.struck: Counter[str] = Counter()

    def start_fault(self) -> None:
        """Start or end one fault."""
        faults: list[Callable[[], None]] = [
            self.kill_or_start_the_server, self.cut_or_mend_the_network, self.lose_or_let_through_answers, self.reload,
            self.crash_the_tab, self.wait,
        ]  # fmt: skip
        fault = self.rng.choice(faults)
        self.struck[fault.__name__] += 1
        fault()

    def kill_or_start_the_server(self) -> None:
        if self.is_up:
            # In the middle of its work: a batch may be committed of which the page will never hear.
            self.page.evaluate("void muster.flush()")
            self.page.wait_for_timeout(self.rng.choice([0, 2, 5, 10, 20]))
            self.site.server.kill()
        else:
            self.site.server.start()
            self.site.server.wait()
        self.is_up = not self.is_up

    def cut_or_mend_the_network(self) -> None:
        self.is_online = not self.is_online
        self.site.context.set_offline(not self.is_online)
        self.wait()

    def lose_or_let_through_answers(self) -> None:
        self.is_heard = not self.is_heard
        if self.is_heard:
            self.site.context.unroute("**/v1/events")
        else:
            self.site.context.route("**/v1/events", self.lose_answer)
            self.wait()

    def lose_answer(self, route: Route) -> None:
        with suppress(Error):  # the server may be down
            self.lost += route.fetch().ok
        route.abort()

    def reload(self) -> None:
        self.site.open(page=self.page)

    def crash_the_tab(self) -> None:
        self.page.close()
        self.page = self.site.open()

    def wait(self) -> None:
        self.page.wait_for_timeout(self.rng.choice([50, 200, 500]))

    def be_over(self) -> None:
        """End all faults."""
        if not self.is_up:
            self.site.server.start()
            self.site.server.wait()
        self.site.context.set_offline(False)
        if not self.is_heard:
            self.site.context.unroute("**/v1/events")


def track(page: Page, first: int, last: int) -> None:
    states = page.evaluate("([first, last]) => many('counted', first, last)", [first, last])
    assert set(states) == {"stored"}


def test_a_thousand_events_are_stored_exactly_once_through_outages(fragile_site: Site, fragile: Server) -> None:
    storm = Storm(fragile_site, SEED)
    storm.lose_or_let_through_answers()
    storm.page.evaluate("muster.track('lost answer')")
    eventually(storm.page, lambda: storm.lost > 0, True)
    for first in range(0, EVENTS, CHUNK):
        track(storm.rng.choice([storm.page, storm.page, storm.other]), first, first + CHUNK)
        storm.start_fault()
    storm.be_over()
    eventually(storm.page, lambda: len(fragile.events("counted")), EVENTS)
    eventually(storm.page, lambda: status(storm.page)["queued"], 0)
    storm.page.wait_for_timeout(500)  # a late duplicate would arrive now
    assert fragile.events("counted") == list(range(EVENTS))

    final = status(storm.page)
    assert final["tracked"] == EVENTS + 1
    assert final["sent"]["accepted"] + final["sent"]["duplicate"] == EVENTS + 1
    assert (final["rejected"], final["ignored"], final["dropped"], final["purged"]) == ({}, {}, 0, 0)
    report = fragile.get(f"/v1/diagnostics/sessions/{final['sessionId']}")
    assert (report["eventsStored"], report["batches"]["missing"], report["dropped"]) == (EVENTS + 1, 0, 0)
    assert len(storm.struck) == 6, storm.struck
    assert final["sent"]["duplicate"] >= 1
    storm.page.evaluate("async () => { document.body.append(JSON.stringify(await muster.status(), null, 1)) }")
    screenshot(storm.page, "client-after-outages")
