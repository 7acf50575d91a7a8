"""The dashboard in a real browser, with some weeks of demo data: it shows what the API answers."""

import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from playwright.sync_api import CDPSession, expect

from local.demo.fill import fill
from tests.support.browser import Server, serving
from tests.support.dashboard import ZONE, Open, number, seconds
from tests.support.databases import Cluster, make_project

MAX_FIRST_LOAD_BYTES = 60_000
MAX_CPU_SECONDS = 1.0
STEPS = ("app_opened", "lesson_opened", "lesson_finished")
FUNNEL = "funnel?timeframe=quarter&" + "&".join(f"step={step}" for step in STEPS)
VIEWS = {
    "overview": "overview?timeframe=quarter",
    "live": "live",
    "funnel": FUNNEL,
    "retention": "retention?period=week&timeframe=quarter",
    "sessions": "sessions",
    "users": "users?timeframe=quarter",
    "user": "users/student-07",
    "pilot": "pilot",
    "diagnostics": "diagnostics?reason=invalid_event",
}


@pytest.fixture(scope="module")
def demo_data(postgres: Cluster) -> Iterator[Server]:
    """The API with the demo data in its database."""
    with postgres.database() as url, serving(url, make_project(url)) as server:
        fill(server.url, server.project.keys)
        yield server


def test_a_key_is_stored_in_the_tab_and_never_in_the_address(demo_data: Server, opened: Open) -> None:
    dashboard = opened(demo_data, None)
    dashboard.expected = "401"
    page = dashboard.open("overview")
    box, button = page.get_by_label("read key, or its admin key"), page.get_by_role("button", name="Open")
    for given, answer in (
        (demo_data.project.keys["write"], "This is a write key"),
        ("nonsense", "A read key begins with mr_"),
        ("mr_" + "x" * 43, "This key is unknown or revoked"),
    ):
        box.fill(given)
        button.click()
        expect(page.get_by_role("alert")).to_contain_text(answer)
    expect(page.get_by_role("alert")).to_contain_text("request")
    dashboard.keep("key-refused")
    assert dashboard.findings() == []
    box.fill(demo_data.project.keys["read"])
    button.click()
    expect(page.get_by_role("link", name="Overview")).to_have_attribute("aria-current", "page")
    stored = page.evaluate("[JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie]")
    assert demo_data.project.keys["read"] in stored[0]
    assert stored[1:] == ["{}", ""]
    assert demo_data.project.keys["read"] not in page.url
    page.get_by_role("button", name="Change key").click()
    expect(box).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


@pytest.mark.parametrize("timeframe", ["week", "quarter"])
def test_the_overview_shows_the_apis_totals(demo_data: Server, opened: Open, timeframe: str) -> None:
    dashboard = opened(demo_data)
    page = dashboard.open(f"overview?timeframe={timeframe}")
    totals = dashboard.ask(f"/v1/metrics?timeframe={timeframe}&timezone={quote(ZONE)}")["totals"]
    texts = "all => all.map(each => ['dt', 'b'].map(part => each.querySelector(part).textContent))"
    shown = dict(page.locator(".tile").evaluate_all(texts))
    assert seconds(shown.pop("Average session")) == pytest.approx(totals["averageSessionSeconds"], abs=0.5)
    assert float(shown.pop("Events per session")) == pytest.approx(totals["eventsPerSession"], abs=0.051)
    assert float(shown.pop("Bounce rate").removesuffix("%")) == pytest.approx(100 * totals["bounceRate"], abs=0.051)
    assert shown == {
        "Events": number(totals["events"]),
        "Users": number(totals["users"]),
        "New users": number(totals["newUsers"]),
        "Sessions": number(totals["sessions"]),
        "Active now": number(totals["activeUsersNow"]),
    }
    # Over the whole demo data every user is new.
    assert timeframe == "quarter" or totals["newUsers"] < totals["users"]


def test_the_overview_shows_the_apis_series_and_breakdown(demo_data: Server, opened: Open) -> None:
    dashboard = opened(demo_data)
    page = dashboard.open(VIEWS["overview"])
    answer = dashboard.ask(f"/v1/metrics?timeframe=quarter&timezone={quote(ZONE)}")
    totals = answer["totals"]
    rows = dashboard.table("Events, users and sessions by day")
    assert [row[1:] for row in rows] == [
        [number(each[name]) for name in ("events", "users", "sessions")] for each in answer["series"]
    ]
    assert sum(each["events"] for each in answer["series"]) == totals["events"] > 1_000
    broken = dashboard.ask(f"/v1/metrics?timeframe=quarter&timezone={quote(ZONE)}&breakdown=eventType")["breakdown"]
    bars = (
        page.get_by_role("list", name="Event type by events")
        .locator("button")
        .evaluate_all(
            "all => all.map(each => [each.querySelector('.name').textContent, each.querySelector('b').textContent])"
        )
    )
    assert bars == [[each["value"], number(each["events"])] for each in broken]
    expect(page.locator(".explain")).to_contain_text("17 rejected")


def test_a_click_on_a_value_filters_and_updates_the_address(demo_data: Server, opened: Open) -> None:
    dashboard = opened(demo_data)
    page = dashboard.open(VIEWS["overview"])
    page.get_by_role("button", name="sharing").click()
    expect(page.get_by_role("button", name="Remove the filter Area: sharing")).to_be_visible()
    assert "area=sharing" in page.url
    page.reload()
    dashboard.settle()
    wanted = dashboard.ask("/v1/metrics?timeframe=quarter&area=sharing")["totals"]["events"]
    expect(page.locator(".tile:has(dt:text-is('Events')) b")).to_have_text(number(wanted))
    page.get_by_role("link", name="Users", exact=True).click()
    assert "area=sharing" in page.url
    page.go_back()
    page.get_by_role("button", name="Remove the filter Area: sharing").click()
    everything = dashboard.ask("/v1/metrics?timeframe=quarter")["totals"]["events"]
    expect(page.locator(".tile:has(dt:text-is('Events')) b")).to_have_text(number(everything))


def test_the_live_view_shows_an_event_that_has_just_been_stored(demo_data: Server, opened: Open) -> None:
    dashboard = opened(demo_data)
    page = dashboard.open("live")
    name, session = f"live_{uuid.uuid4().hex[:8]}", str(uuid.uuid4())
    event = {"eventType": name, "area": "tests", "timestamp": datetime.now(UTC).isoformat(), "data": {"n": 1}}
    dashboard.ask("/v1/events", "write", "POST", {"sessionId": session, "events": [event]})
    listed = page.get_by_role("list", name="Newest events").locator("li", has_text=name)
    expect(listed).to_be_visible()
    listed.locator("summary").click()
    listed.get_by_role("link", name=session).click()
    expect(page.get_by_role("heading", name=f"Session {session[:8]}")).to_be_visible()
    expect(
        page.get_by_role("list", name=re.compile("^The session.s events$")).locator("li", has_text=name)
    ).to_be_visible()
    expect(page.get_by_text("Every batch that the client numbered has arrived.")).to_be_visible()


def test_session_pages_and_details_match_the_api(demo_data: Server, opened: Open) -> None:
    dashboard = opened(demo_data)
    page = dashboard.open("sessions?area=sharing")
    page.get_by_role("button", name="Older sessions").click()
    expect(page.get_by_role("table", name="Latest sessions").locator("tbody tr")).to_have_count(100)
    answer = dashboard.ask("/v1/metrics/sessions?area=sharing&timeframe=all&limit=100")["sessions"]
    shown = [(row[1], row[2], row[3]) for row in dashboard.table("Latest sessions")]
    assert shown == [
        (each["userId"], each["participantType"], f"{each['eventsInRange']} of {each['eventsCount']}")
        if each["eventsInRange"] != each["eventsCount"]
        else (each["userId"], each["participantType"], number(each["eventsCount"]))
        for each in answer
    ]
    longest = max(answer, key=lambda each: int(each["eventsCount"]))
    page = dashboard.open(f"sessions/{longest['sessionId']}")
    events = dashboard.ask(f"/v1/metrics/events?sessionId={longest['sessionId']}")["events"]
    assert len(events) == longest["eventsCount"] > 10
    listed = page.get_by_role("list", name=re.compile("^The session.s events$"))
    assert listed.locator(".type").all_inner_texts() == [event["eventType"] for event in reversed(events)][:25]
    expect(page.get_by_text(f"{number(len(events))} events over")).to_be_visible()


def test_the_most_active_users_match_the_api(demo_data: Server, opened: Open) -> None:
    dashboard = opened(demo_data)
    page = dashboard.open(VIEWS["users"])
    rows = dashboard.ask("/v1/metrics?timeframe=quarter&breakdown=userId&limit=100")["breakdown"]
    bars = page.get_by_role("list", name="Users by events").locator("a")
    shown = bars.evaluate_all(
        "all => all.map(each => ['.name', 'b'].map(part => each.querySelector(part).textContent))"
    )
    assert shown == [[row["value"], number(row["events"])] for row in rows if row["value"]]


def test_the_page_names_its_project(demo_data: Server, opened: Open) -> None:
    page = opened(demo_data).open("overview")
    expect(page.locator("header .project")).to_have_text("tests")
    expect(page).to_have_title("Overview · tests · Muster")


def test_the_admin_key_can_record_a_consent_decision(demo_data: Server, opened: Open) -> None:
    page = opened(demo_data).open("users/student-20")
    expect(page.locator(".tag.granted")).to_be_visible()
    expect(page.get_by_role("form", name="Record a decision")).to_have_count(0)
    admin = opened(demo_data, "admin")
    page = admin.open("users/student-20")
    form = page.get_by_role("form", name="Record a decision")
    form.get_by_label("Decision").select_option("withdrawn")
    form.get_by_label("Version").fill("letter of May")
    form.get_by_role("button", name="Record decision").click()
    expect(page.locator(".tag.withdrawn")).to_be_visible()
    decided = admin.ask("/v1/consent?userId=student-20")
    assert (decided["status"], decided["version"]) == ("withdrawn", "letter of May")


def test_the_funnel_matches_the_api(demo_data: Server, opened: Open) -> None:
    dashboard = opened(demo_data)
    page = dashboard.open("funnel?timeframe=quarter")
    for step in STEPS:
        page.get_by_label("Event type", exact=True).fill(step)
        page.get_by_role("button", name="Add step").click()
        expect(page.get_by_role("button", name=f"Remove step {STEPS.index(step) + 1}, {step}")).to_be_visible()
    expect(page.get_by_role("list", name="Funnel")).to_be_visible()
    dashboard.settle()
    body = {"steps": [{"eventType": step} for step in STEPS], "timeframe": "quarter", "timezone": ZONE}
    answer = dashboard.ask("/v1/metrics/funnel", method="POST", body=body)
    shown = dashboard.table("The funnel's steps")
    assert [row[1] for row in shown] == [number(step["count"]) for step in answer["steps"]]
    assert shown[0][2:] == ["\u2013", "100%", "\u2013"]
    for row, step in list(zip(shown, answer["steps"], strict=True))[1:]:
        assert float(row[2].removesuffix("%")) == pytest.approx(100 * step["fromPrevious"], abs=0.051)
        assert float(row[3].removesuffix("%")) == pytest.approx(100 * step["fromStart"], abs=0.051)
        assert seconds(row[4]) == pytest.approx(step["medianSeconds"], abs=0.51)
    assert answer["steps"][-1]["count"] > 10


def test_the_retention_grid_matches_the_api(demo_data: Server, opened: Open) -> None:
    dashboard = opened(demo_data)
    dashboard.open(VIEWS["retention"])
    answer = dashboard.ask(f"/v1/metrics/retention?period=week&timeframe=quarter&timezone={quote(ZONE)}")
    cohorts = [cohort for cohort in answer["cohorts"] if cohort["users"]]
    caption = "Users by the week of their first event, and the share active in each later week"
    shown = dashboard.table(caption)
    assert [row[1] for row in shown] == [number(cohort["users"]) for cohort in cohorts]
    # Halves are rounded away from zero there, to even here.
    for row, cohort in zip(shown, cohorts, strict=True):
        for text, users in zip(row[2:], cohort["retained"], strict=True):
            assert abs(float(text.removesuffix("%")) - 100 * users / cohort["users"]) <= 0.5


def test_only_the_admin_key_shows_exports_and_erases_a_user(demo_data: Server, opened: Open) -> None:
    reader = opened(demo_data)
    page = reader.open("users/student-12")
    answer = reader.ask("/v1/metrics/users/student-12")
    assert page.locator(".tile:has(dt:text-is('Events')) b").inner_text() == number(answer["events"])
    expect(page.locator(".tag.granted")).to_be_visible()
    expect(page.get_by_role("button", name="Erase…")).to_be_disabled()
    admin = opened(demo_data, "admin")
    admin.expected = "404"
    page = admin.open("users/student-12")
    # Of small pages, so that there are several.
    page.route(
        "**/v1/subjects/*",
        lambda route: route.continue_(
            url=f"{route.request.url}{'&' if '?' in route.request.url else '?'}limit={answer['events'] // 2 - 1}"
        ),
        times=3,
    )
    with page.expect_download() as download:
        page.get_by_role("button", name="Export all").click()
    saved = json.loads(download.value.path().read_text("utf-8"))
    assert len(saved["events"]) == answer["events"]
    page.get_by_role("button", name="Erase…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Erase")).to_be_disabled()
    dialog.get_by_role("textbox").fill("student-12")
    dialog.get_by_role("button", name="Erase").click()
    expect(page.get_by_text("Erased.")).to_be_visible()
    expect(page.get_by_text("No event of this user is stored.")).to_be_visible()


def test_pilot_tokens_are_issued_shown_once_and_revoked(demo_data: Server, opened: Open) -> None:
    page = opened(demo_data).open("pilot")
    expect(page.get_by_text("tokens needs the admin key")).to_be_visible()
    admin = opened(demo_data, "admin")
    page = admin.open("pilot")
    page.get_by_label("Participant type").fill("observer")
    page.get_by_label("How many").fill("2")
    page.get_by_role("button", name="Issue").click()
    tokens = page.locator("pre.data").inner_text().split()
    assert [token[:3] for token in tokens] == ["mp_", "mp_"]
    page.get_by_role("button", name="Done").click()
    expect(page.locator("tr", has_text="observer")).to_have_count(2)
    page.get_by_role("button", name=f"Revoke {tokens[0][:8]}").click()
    page.get_by_role("dialog").get_by_role("textbox").fill(tokens[0][:8])
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.locator("tr", has_text=tokens[0][:8])).to_contain_text("revoked")


def test_diagnostics_show_every_check_and_the_quarantine_by_reason(demo_data: Server, opened: Open) -> None:
    dashboard = opened(demo_data)
    page = dashboard.open("diagnostics")
    answer = dashboard.ask("/v1/diagnostics")
    names = page.locator(".checks > li b").all_inner_texts()
    assert sorted(names) == sorted(check["name"].replace("_", " ") for check in answer["checks"])
    for check in answer["checks"]:
        if check["status"] in ("warn", "fail"):
            expect(page.locator(".checks .remedy").first).to_be_visible()
    groups = dashboard.ask("/v1/diagnostics/rejections?group=reason")["groups"]
    rows = {row[0]: row[1] for row in dashboard.table("Rejected events by reason")}
    assert rows == {group["reason"]: number(group["events"]) for group in groups}
    expect(page.get_by_role("button", name="Replay timestamp_out_of_range (needs the admin key)")).to_be_disabled()
    page.get_by_role("button", name="event_too_large", exact=True).click()
    expect(page.locator(".rejections > li")).to_have_count(1)


def test_replay_reports_its_result(demo_data: Server, opened: Open) -> None:
    page = opened(demo_data, "admin").open("diagnostics")
    page.get_by_role("button", name="Replay event_too_large").click()
    expect(page.get_by_text("0 stored, 1 still rejected")).to_be_visible()


def test_the_dashboard_traces_an_event(demo_data: Server, opened: Open) -> None:
    dashboard = opened(demo_data)
    page = dashboard.open("diagnostics?timeframe=quarter")
    event = dashboard.ask("/v1/metrics/events?limit=1")["events"][0]["id"]
    page.get_by_label("Event id").fill(event)
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_text("The event is stored, and this view counts it.")).to_be_visible()
    assert page.locator(".stages > li.pass").count() == 6
    unknown = str(uuid.uuid4())
    page.get_by_label("Event id").fill(unknown)
    page.get_by_role("button", name="Find").click()
    verdict = dashboard.ask(f"/v1/diagnostics/events/{unknown}")["verdict"]
    expect(page.locator(".trace .verdict")).to_have_text(verdict)
    expect(page.locator(".trace .remedy")).to_contain_text("Check that the client sends to this API")


def test_an_empty_project_says_why_in_every_view(server: Server, opened: Open) -> None:
    dashboard = opened(server)
    hint = dashboard.ask("/v1/metrics")["explain"]["hint"]
    assert hint
    for view in ("overview", "live", "funnel", "retention", "sessions", "users"):
        page = dashboard.open(view)
        expect(page.locator(".empty", has_text=hint).first).to_be_visible()
    assert dashboard.findings() == []
    dashboard.keep("empty")


def test_a_filter_without_results_suggests_what_to_try(demo_data: Server, opened: Open) -> None:
    dashboard = opened(demo_data)
    day = (datetime.now(UTC) - timedelta(days=300)).date()
    page = dashboard.open(f"overview?start={day}&end={day + timedelta(days=1)}")
    expect(page.locator(".empty .facts").first).to_contain_text("outside the range")
    page.get_by_role("button", name="Show all time").click()
    dashboard.settle()
    expect(page.locator(".tile:has(dt:text-is('Events')) b")).not_to_have_text("0")


def test_an_api_error_is_shown_with_its_request_id(demo_data: Server, opened: Open) -> None:
    dashboard = opened(demo_data)
    dashboard.expected = "400"
    page = dashboard.open("sessions/no-uuid")
    expect(page.get_by_role("alert")).to_contain_text("Send a UUID")
    expect(page.get_by_role("alert")).to_contain_text("request")


def test_a_server_outage_shows_an_error_and_keeps_the_view(fragile: Server, opened: Open) -> None:
    dashboard = opened(fragile)
    dashboard.expected = "ERR_"
    page = dashboard.open("overview")
    fragile.kill()
    page.get_by_role("button", name="Users", exact=True).click()
    page.get_by_role("combobox", name="Range").select_option("month")
    alert = page.get_by_role("alert").first
    expect(alert).to_contain_text("The API does not respond")
    expect(alert).to_contain_text("The data below is out of date")
    dashboard.keep("server-down")
    assert dashboard.findings() == []
    fragile.start()
    fragile.wait()
    alert.get_by_role("button", name="Try again").click()
    dashboard.context.set_offline(True)
    expect(page.get_by_text("This device is offline.").first).to_be_visible()
    dashboard.context.set_offline(False)
    expect(page.locator(".banner")).to_have_count(0)
    # All its functions start again at once.
    expect(page.get_by_role("alert")).to_have_count(0, timeout=30_000)


def test_the_first_load_is_small_and_fast(demo_data: Server, opened: Open) -> None:
    dashboard = opened(demo_data)
    devtools = dashboard.context.new_cdp_session(dashboard.page)
    # Thread time does not depend on what else the machine does.
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    sizes, times = [], []
    for _ in range(3):
        # encodedBodySize counts cached files too.
        page = dashboard.open("overview", is_settled=False)
        page.locator(".tile").first.wait_for()
        times.append(task_seconds(devtools))
        sizes.append(
            page.evaluate(
                "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
                ".filter(each => !each.name.includes('/v1/')).reduce((sum, each) => sum + each.encodedBodySize, 0)"
            )
        )
    assert 10_000 < max(sizes) <= MAX_FIRST_LOAD_BYTES
    assert 0 < min(times) < MAX_CPU_SECONDS, times


def task_seconds(devtools: CDPSession) -> float:
    """The processor time of the page's main thread since its navigation."""
    metrics = {each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]}
    return float(metrics["TaskDuration"])


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (768, "light"), (768, "dark"), (360, "dark")])
def test_every_view_is_accessible_on_every_screen(demo_data: Server, opened: Open, width: int, scheme: str) -> None:
    dashboard = opened(demo_data, "admin", viewport={"width": width, "height": 800}, color_scheme=scheme)
    for name, address in VIEWS.items():
        dashboard.open(address)
        if width in (1280, 360):
            assert dashboard.findings() == [], f"{name} at {width} in {scheme}"
        assert dashboard.overflow() <= 0, f"{name} at {width}"
        dashboard.keep(f"{name}-{width}-{scheme}")


def test_the_keyboard_reaches_the_view_and_its_controls(demo_data: Server, opened: Open) -> None:
    page = opened(demo_data).open("overview")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Skip to the view")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("combobox", name="Range")).to_be_focused()
