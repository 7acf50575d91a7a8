"""The error messages of a broken database say only what is known about the request."""

import psycopg
import pytest
from psycopg.pq.abc import PGresult

from muster.api import app as api
from muster.db import client
from muster.db.client import Connection
from tests.support.functions import Caller, a_batch

ROUTE = "POST /v1/events"


def test_a_batch_with_a_lost_answer_may_be_stored(post: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, read_result = a_batch(), client._result

    def lose(connection: Connection) -> PGresult:
        read_result(connection)  # the batch is committed
        connection.close()
        raise psycopg.OperationalError("the connection is lost")

    with monkeypatch.context() as patch:
        patch.setattr(client, "_result", lose)
        answer = post(ROUTE, batch)
    assert (answer.status, answer.code) == (503, "database_unavailable")
    assert "it is unknown whether these events were stored" in answer.json["error"]["message"]
    again = post(ROUTE, batch)
    assert again.json["duplicates"] == again.json["received"]


def test_an_unreachable_database_says_nothing_about_storing(
    on_metrics: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(client, "connect", refuse)
    api.database.cache_clear()
    answer = on_metrics("GET /v1/metrics", kind="read")
    assert (answer.status, answer.code) == (503, "database_unavailable")
    assert answer.json["error"]["message"] == "The database cannot be reached. Send the same request again."


def test_a_refused_statement_does_not_say_that_the_database_is_unreachable(
    post: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Connection) -> PGresult:
        raise psycopg.errors.LockNotAvailable

    monkeypatch.setattr(client, "_result", refuse)
    assert post(ROUTE, a_batch()).json["error"]["message"] == client.NOT_DONE
