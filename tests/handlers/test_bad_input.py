"""POST /v1/events: bodies that cannot be read, and errors that never repeat a value."""

import gzip
import json

import pytest

from tests.support.functions import Caller, a_batch, an_event

ROUTE = "POST /v1/events"


def test_a_gzip_bomb_is_refused_before_it_is_inflated(post: Caller) -> None:
    bomb = gzip.compress(b" " * 200_000_000, 9)
    assert len(bomb) < 1_000_000
    answer = post(ROUTE, bomb, headers={"content-encoding": "gzip"})
    assert (answer.status, answer.code) == (413, "payload_too_large")


@pytest.mark.parametrize(
    "body", [b"{}", gzip.compress(b"{}")[:-6], gzip.compress(b"{}") + b"rest"], ids=["plain", "cut", "longer"]
)
def test_a_body_that_is_not_the_gzip_it_claims_is_refused(post: Caller, body: bytes) -> None:
    answer = post(ROUTE, body, headers={"content-encoding": "gzip"})
    assert (answer.status, answer.code) == (400, "invalid_json")


@pytest.mark.parametrize("header", [{"content-encoding": "br"}, {"content-type": "multipart/form-data"}])
def test_another_encoding_is_refused(post: Caller, header: dict[str, str]) -> None:
    answer = post(ROUTE, a_batch(), headers=header)
    assert (answer.status, answer.code) == (415, "unsupported_encoding")


def test_a_wrong_key_is_reported_before_a_bad_body(post: Caller) -> None:
    assert post(ROUTE, "not json", kind="read").code == "key_not_allowed"
    assert post(ROUTE, "not json", kind=None, headers={"authorization": "Bearer mw_x"}).code == "invalid_key"


def test_no_error_repeats_a_value(post: Caller) -> None:
    for body in (a_batch(userId={"hunter2": 1}), a_batch(sessionId="hunter2"), '{"hunter2'):
        assert "hunter2" not in json.dumps(post(ROUTE, body).json).replace('"userId", "hunter2"', "")
    event = post(ROUTE, a_batch(an_event(timestamp="hunter2", data={"k": "hunter2\0"}))).json["events"][0]
    assert "hunter2" not in json.dumps(event)
