"""The dashboard on the real log: days of 2015, sessions, and no user."""

from playwright.sync_api import expect

from local.importer.import_log import import_log
from local.state import Target
from tests.support.access_log import LOG, needs_the_log
from tests.support.browser import serving
from tests.support.dashboard import Open, number
from tests.support.databases import Cluster, make_project


@needs_the_log
def test_imported_days_show_the_apis_counts(postgres: Cluster, opened: Open) -> None:
    days = "start=2015-05-17&end=2015-05-21&timezone=UTC"
    with postgres.database() as url, serving(url, make_project(url)) as server:
        keys = server.project.keys
        import_log(LOG, Target(server.url, keys["admin"], keys["read"]))
        dashboard = opened(server)
        page = dashboard.open(f"overview?{days}&granularity=day")
        answer = dashboard.ask(f"/v1/metrics?{days}&granularity=day")
        assert answer["totals"]["events"] > 7_000
        rows = [row[1:] for row in dashboard.table("Events, users and sessions by day")]
        counts = ("events", "users", "sessions")
        assert rows == [[number(each[name]) for name in counts] for each in answer["series"]]
        page.get_by_role("link", name="Sessions", exact=True).click()
        dashboard.settle()
        listed = dashboard.ask(f"/v1/metrics/sessions?{days}&limit=50")["sessions"]
        assert [row[3] for row in dashboard.table("Latest sessions")] == [
            number(each["eventsCount"]) for each in listed
        ]
        page.get_by_role("link", name="Users", exact=True).click()
        expect(page.get_by_text("No event in this range has a user")).to_be_visible()
        page.get_by_role("link", name="Live", exact=True).click()
        dashboard.settle()
        newest = dashboard.ask(f"/v1/metrics/events?{days}&limit=25")["events"]
        types = page.get_by_role("list", name="Newest events").locator(".type").all_inner_texts()
        assert types == [event["eventType"] for event in newest]
