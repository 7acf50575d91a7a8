"""What a project does not keep of data."""

import json
from typing import Any

import psycopg
import pytest

from tests.handlers.test_consent import set_project
from tests.support.functions import Caller, a_batch, an_event

ROUTE = "POST /v1/events"
CARD, NO_CARD = "4111 1111 1111 1111", "4111 1111 1111 1112"


def stored(database_url: str) -> Any:
    with psycopg.connect(database_url) as connection:
        return [row[0] for row in connection.execute("SELECT data FROM muster.analytics_events").fetchall()]


@pytest.mark.parametrize(
    ("data", "kept", "redacted"),
    [
        ({"email": "a@b.c", "plan": "pro"}, {"plan": "pro"}, 1),
        ({"Email": "a@b.c", "PASSWORD": 1, "token": None}, {}, 3),
        ({"em\u0061il": 1, "user": {"password": "x", "name": "y"}}, {"user": {"name": "y"}}, 2),
        ({"list": [{"token": 1}, [{"token": 2, "n": 3}]]}, {"list": [{}, [{"n": 3}]]}, 2),
        ({"a": CARD, "b": CARD.replace(" ", "-"), "c": int(CARD.replace(" ", "")), "d": 1}, {"d": 1}, 3),
        ({"a": f"my card is {CARD}, thanks"}, {}, 1),
        ({"a": [CARD, "x"]}, {"a": ["x"]}, 1),
        ({"a": "378282246310005", "b": "6011111111111117", "c": "5555555555554444", "d": "30569309025904"}, {}, 4),
        # No card's: a wrong check digit, times, fractions, other lengths.
        ({"a": NO_CARD, "at": 1795609980788, "us": 1795609980788123, "f": 0.4111111111111111}, None, 0),
        ({"id": "41111111111111111111", "emails": 1, "my_token": 2, "text": "email"}, None, 0),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_names_and_cards_are_left_out_and_counted(
    post: Caller, database_url: str, data: Any, kept: Any, redacted: int, alone: bool
) -> None:
    answer = post(ROUTE, a_batch(an_event(data=data), *([] if alone else [an_event(data={"n": 1})])))
    assert (answer.json["accepted"], answer.json["redacted"]) == (1 if alone else 2, redacted)
    assert (data if kept is None else kept) in stored(database_url)


def test_an_escaped_name_is_the_name(post: Caller, database_url: str) -> None:
    text = json.dumps(a_batch(an_event(data={"email": 1, "n": 2}))).replace('"email"', '"\\u0065mail"')
    assert post(ROUTE, text).json["redacted"] == 1
    assert stored(database_url) == [{"n": 2}]


def test_a_project_has_a_list_of_its_own(post: Caller, database_url: str) -> None:
    set_project(database_url, redacted_keys=["secret"], redacts_cards=False)
    assert post(ROUTE, a_batch(an_event(data={"Secret": 1, "email": "kept", "card": CARD}))).json["redacted"] == 1
    text = json.dumps(a_batch(an_event(data={"secret": 1}))).replace('"secret"', '"\\u0073ecret"')
    assert post(ROUTE, text).json["redacted"] == 1
    assert stored(database_url) == [{"email": "kept", "card": CARD}, {}]


def test_what_is_rejected_is_kept_without_it_too(post: Caller, database_url: str) -> None:
    cut = {"password": "x" * 20_000}
    events = [an_event(timestamp="1999-01-01T00:00:00Z", data={"email": "a@b.c", "n": 1}), {"data": {"token": "t"}},
              {"data": cut}, {"data": {"n": 1}}]  # fmt: skip
    assert post(ROUTE, a_batch(*events)).json["rejected"] == 4
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT payload FROM muster.analytics_rejections ORDER BY event_index").fetchall()
    kept = [None if row[0] is None else json.loads(row[0]) for row in rows]
    assert [None if each is None else each["data"] for each in kept] == [{"n": 1}, {}, None, {"n": 1}]
    assert kept[3] == {"data": {"n": 1}}
