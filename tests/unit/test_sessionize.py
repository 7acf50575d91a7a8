"""Sessions and events from the requests of a log."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from local.importer.access_log import LogRecord
from local.importer.sessionize import make_events

START = datetime(2015, 5, 17, 10, tzinfo=UTC)


def a_record(**fields: Any) -> LogRecord:
    known: dict[str, Any] = {
        "client": "1.2.3.4",
        "at": START,
        "method": "GET",
        "target": "/shop/a?b=c",
        "status": 200,
        "size": 5,
        "referrer": "http://example.org/x",
        "agent": "Mozilla/5.0 Firefox/128.0",
        "is_cut_off": False,
    }
    return LogRecord(**{**known, **fields})


def events(*records: LogRecord) -> list[dict[str, Any]]:
    return [orjson.loads(event.body) for event in make_events(enumerate(records, start=1))]


def test_a_session_ends_after_30_minutes_of_quiet() -> None:
    minutes = [0, 30, 60, 91]
    found = events(*(a_record(at=START + timedelta(minutes=minute)) for minute in minutes))
    assert [event["sessionId"] == found[0]["sessionId"] for event in found] == [True, True, True, False]


def test_each_client_has_its_own_session_and_lines_may_be_out_of_order() -> None:
    records = [a_record(at=START + timedelta(minutes=20)), a_record(client="::1"), a_record()]
    found = events(*records)
    assert len({event["sessionId"] for event in found}) == 2
    assert {event["sessionId"] for event in found} == {event["sessionId"] for event in events(*reversed(records))}


@pytest.mark.parametrize(
    ("target", "status", "event_type", "area"),
    [
        ("/", 200, "page_view", "home"),
        ("/shop/a?b=c", 200, "page_view", "shop"),
        ("/style.CSS?v=2", 200, "asset_view", "style.CSS"),
        ("/images/a.png", 304, "asset_view", "images"),
        ("/images/a.png", 404, "error_view", "images"),
        ("http://host/a/b", 200, "page_view", "a"),
        (None, 408, "error_view", "unknown"),
        ("/" + "x" * 200, 200, "page_view", "x" * 100),
    ],
)
def test_type_and_area_come_from_the_request(target: str | None, status: int, event_type: str, area: str) -> None:
    (event,) = events(a_record(target=target, status=status))
    assert (event["eventType"], event["area"]) == (event_type, area)


def test_data_has_no_address_no_agent_and_no_query() -> None:
    (event,) = events(a_record())
    assert event["data"] == {
        "method": "GET",
        "path": "/shop/a",
        "status": 200,
        "bytes": 5,
        "referrerHost": "example.org",
        "browser": "Firefox",
    }
    assert event["context"] == {"userAgent": "Mozilla/5.0 Firefox/128.0"}
    assert "1.2.3.4" not in str(event)


def test_two_requests_alike_are_two_events() -> None:
    found = events(a_record(), a_record(), a_record())
    assert [event["data"].get("repeat") for event in found] == [None, 2, 3]
