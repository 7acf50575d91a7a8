"""What clients rely on, tested in every run mode."""

import gzip
import json
import uuid

import pytest

from tests.support.blackbox import Api, eventually
from tests.support.functions import a_batch, an_event

STORED = {200: "accepted", 202: "queued"}


def count(api: Api, **filters: str) -> int:
    answer = api.get("/v1/metrics", params={"timeframe": "all", **filters})
    assert answer.status_code == 200, answer.text
    return int(answer.json()["totals"]["events"])


def test_a_batch_is_stored_once_however_often_it_is_sent(api: Api) -> None:
    event_type = f"type-{uuid.uuid4()}"
    batch = a_batch(an_event(eventType=event_type), an_event(eventType=event_type, id=None), userId="ada")
    for attempt in range(3):
        answer = api.post(batch)
        assert answer.status_code in STORED, answer.text
        assert answer.headers["x-request-id"]
        body = answer.json()
        assert body["received"] == body["accepted"] + body["duplicates"] + body["rejected"] + body["ignored"] == 2
        if attempt == 0:
            assert {event["status"] for event in body["events"]} == {STORED[answer.status_code]}
    eventually(lambda: count(api, eventType=event_type), 2)
    eventually(lambda: api.get("/v1/sessions/" + batch["sessionId"]).json()["eventsCount"], 2)


def test_an_invalid_event_is_rejected_alone_with_its_position(api: Api) -> None:
    event_type = f"type-{uuid.uuid4()}"
    events = [an_event(eventType=event_type) for _ in range(5)]
    events[2]["timestamp"] = "yesterday"
    answer = api.post(a_batch(*events)).json()
    assert (answer["accepted"], answer["rejected"]) == (4, 1)
    assert answer["events"][2]["details"][0]["loc"] == ["events", 2, "timestamp"]
    eventually(lambda: count(api, eventType=event_type), 4)
    eventually(lambda: "rejections" in {c["name"] for c in api.get("/v1/diagnostics").json()["checks"]}, True)


def test_a_beacon_is_accepted(api: Api) -> None:
    event_type = f"type-{uuid.uuid4()}"
    content = json.dumps(a_batch(an_event(eventType=event_type)))
    query = {"key": api.keys["write"]}
    answer = api.post(None, kind=None, content=content, headers={"content-type": "text/plain"}, params=query)
    assert answer.status_code in STORED, answer.text
    eventually(lambda: count(api, eventType=event_type), 1)


def test_a_gzip_body_is_accepted(api: Api) -> None:
    if api.breaks_gzip:
        pytest.skip("MiniStack and sam local hand a gzip body on as broken text; make run and the emulator read it")
    content = gzip.compress(json.dumps(a_batch()).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert api.post(None, content=content, headers=headers).status_code in STORED


@pytest.mark.parametrize(
    ("content", "code"), [("", "invalid_json"), ("{", "invalid_json"), ("[]", "invalid_batch"), ("{}", "invalid_batch")]
)
def test_a_bad_request_is_a_400_with_an_error_code(api: Api, content: str, code: str) -> None:
    answer = api.post(None, content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_each_route_requires_its_kind_of_key(api: Api) -> None:
    assert api.post(a_batch(), kind=None).status_code == 401
    assert api.post(a_batch(), kind="read").status_code == 403
    assert api.get("/v1/metrics", kind="write").status_code == 403
    assert api.get("/v1/diagnostics", kind=None).status_code == 401


def test_a_session_is_stored_and_returned(api: Api) -> None:
    path = f"/v1/sessions/{uuid.uuid4()}"
    assert api.request("PUT", path, kind="write", json={"userId": "ada"}).json()["created"] is True
    assert api.get(path).json()["userId"] == "ada"
    assert api.request("PUT", path, kind="write", json={"userId": "bob"}).status_code == 409
    assert api.get(f"/v1/sessions/{uuid.uuid4()}").status_code == 404


def test_a_bad_parameter_is_named(api: Api) -> None:
    answer = api.get("/v1/metrics", params={"timeframe": "fortnight"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_parameter")


def test_events_are_paged(api: Api) -> None:
    event_type = f"type-{uuid.uuid4()}"
    api.post(a_batch(*(an_event(eventType=event_type) for _ in range(3))))
    eventually(lambda: count(api, eventType=event_type), 3)
    first = api.get("/v1/metrics/events", params={"eventType": event_type, "limit": "2"}).json()
    second = api.get(
        "/v1/metrics/events", params={"eventType": event_type, "limit": "2", "cursor": first["nextCursor"]}
    ).json()
    assert len({event["id"] for event in [*first["events"], *second["events"]]}) == 3
    assert second["nextCursor"] is None


def test_the_health_check_succeeds(api: Api) -> None:
    assert api.get("/healthz", kind=None).json() == {"status": "ok"}
    answer = api.get("/v1/diagnostics")
    assert answer.status_code == 200
    failing = [check for check in answer.json()["checks"] if check["status"] == "fail"]
    assert failing == []


def test_cors_headers_allow_a_page_to_send_and_read(api: Api) -> None:
    page = {"origin": "https://shop.example"}
    answer = api.post(a_batch(), headers=page)
    assert answer.status_code in STORED, answer.text
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-origin" not in api.post(a_batch()).headers
    refused = api.post(a_batch(), kind=None, headers=page)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://shop.example")


def test_a_preflight_needs_no_key(api: Api) -> None:
    if api.answers_options:
        pytest.skip("MiniStack answers OPTIONS itself, with 403, and hands it on to no function")
    asking = {
        "origin": "https://shop.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    answer = api.request("OPTIONS", "/v1/events", headers=asking)
    assert answer.status_code == 204, answer.text
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "POST" in answer.headers["access-control-allow-methods"]
