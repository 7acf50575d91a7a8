"""Sending batches to a server with every kind of failure."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from local.importer.event_sender import MAX_BATCH_BYTES, MAX_BATCH_EVENTS, EventSender, ImportStopped, batches
from local.importer.sessionize import ImportedEvent

Answer = tuple[int, dict[str, str], bytes]
LOST: Answer = (0, {}, b"")
"""The server reads the request and closes the connection without a response."""


class Server:
    """Answers from a list of responses and records the requests."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[dict[str, str], list[Any]]] = []

    @contextmanager
    def running(self) -> Iterator[str]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the name that http.server calls
                body = gzip.decompress(self.rfile.read(int(self.headers["content-length"])))
                server.asked.append((dict(self.headers.items()), json.loads(body)["events"]))
                status, headers, answer = server.answers.pop(0)
                if status == 0:
                    return
                self.send_response(status)
                for name, value in {"content-length": str(len(answer)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of the method replaced
                return

        with HTTPServer(("127.0.0.1", 0), Handler) as http:
            thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield f"http://127.0.0.1:{http.server_port}"
            finally:
                http.shutdown()
                thread.join()


def an_event(line: int = 1, *, padding: int = 0) -> ImportedEvent:
    body = json.dumps({"line": line, "padding": "x" * padding}).encode()
    return ImportedEvent(line=line, at=datetime(2015, 5, line, tzinfo=UTC), session_id="s", body=body)


def a_result(*fates: str, **wrong: int) -> Answer:
    """Each outcome is a status, or status:reason."""
    events = []
    for index, fate in enumerate(fates):
        status, _, reason = fate.partition(":")
        events.append({"index": index, "status": status, **({"reason": reason} if reason else {})})
    statuses = [event["status"] for event in events]
    totals = {
        "received": len(fates),
        "accepted": statuses.count("accepted") + statuses.count("queued"),
        "duplicates": statuses.count("duplicate"),
        "ignored": statuses.count("ignored"),
        "rejected": statuses.count("rejected"),
    }
    return 200, {}, json.dumps({**totals, **wrong, "events": events}).encode()


def an_error(status: int, **headers: str) -> Answer:
    error = {"error": {"code": "some_code", "message": "Do [/this]."}}
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(error).encode()


@contextmanager
def sending(server: Server) -> Iterator[tuple[EventSender, list[float], list[str]]]:
    """A sender that records its pauses and messages instead of waiting."""
    pauses: list[float] = []
    said: list[str] = []
    with server.running() as url:
        sender = EventSender(url, "ma_key", sleep=pauses.append, notify=said.append)
        try:
            yield sender, pauses, said
        finally:
            sender.close()


def test_every_outcome_is_counted_with_its_reason_and_line() -> None:
    server = Server(a_result("accepted", "duplicate", "ignored:bot", "rejected:invalid_event", "queued"))
    with sending(server) as (sender, _, _):
        assert list(sender.send(map(an_event, range(1, 6)))) == [5]
    tally = sender.tally
    assert (tally.sent, tally.accepted, tally.queued, tally.duplicates) == (5, 2, 1, 1)
    assert (dict(tally.ignored), dict(tally.rejected)) == ({"bot": 1}, {"invalid_event": 1})
    assert tally.rejected_lines == {"invalid_event": [4]}
    assert tally.adds_up
    ((headers, events),) = server.asked
    assert headers["authorization"] == "Bearer ma_key"
    assert [event["line"] for event in events] == [1, 2, 3, 4, 5]


def test_the_days_are_those_of_events_that_were_not_rejected() -> None:
    with sending(Server(a_result("rejected:x", "ignored:bot", "accepted", "rejected:x"))) as (sender, _, _):
        list(sender.send(map(an_event, range(1, 5))))
    assert (str(sender.tally.first_day), str(sender.tally.last_day)) == ("2015-05-02", "2015-05-03")


def test_a_busy_server_gets_the_batch_again_after_retry_after() -> None:
    answers = an_error(503, retry_after="7"), an_error(429), an_error(503, retry_after="0"), a_result("accepted")
    server = Server(*answers)
    with sending(server) as (sender, pauses, said):
        assert list(sender.send([an_event()])) == [1]
    assert pauses == [7, 1, 2]
    assert len({json.dumps(events) for _, events in server.asked}) == 1
    assert said[0] == "Trying again in 7.0 s: 503 some_code: Do [/this]."


def test_the_sender_never_waits_for_more_than_a_minute() -> None:
    with sending(Server(an_error(503, retry_after="86400"), a_result("accepted"))) as (sender, pauses, _):
        list(sender.send([an_event()]))
    assert pauses == [60]


def test_a_batch_without_a_response_is_sent_again() -> None:
    with sending(Server(LOST, a_result("duplicate"))) as (sender, pauses, said):
        list(sender.send([an_event()]))
    assert (sender.tally.duplicates, pauses) == (1, [0.5])
    assert "the connection failed" in said[0]


def test_the_sender_gives_up_after_eight_tries_and_keeps_its_counts() -> None:
    server = Server(a_result(*["accepted"] * MAX_BATCH_EVENTS), *[an_error(503)] * 8)
    with sending(server) as (sender, pauses, _), pytest.raises(ImportStopped, match="in 8 tries"):
        list(sender.send(an_event() for _ in range(MAX_BATCH_EVENTS + 1)))
    assert len(pauses) == 7
    assert (sender.tally.sent, sender.tally.batches) == (MAX_BATCH_EVENTS, 1)


@pytest.mark.parametrize("status", [400, 401, 403, 413, 415])
def test_a_refused_batch_is_not_sent_again(status: int) -> None:
    server = Server(an_error(status))
    with sending(server) as (sender, pauses, _):
        with pytest.raises(ImportStopped, match=f"{status} some_code: Do"):
            list(sender.send([an_event()]))
        assert (pauses, len(server.asked)) == ([], 1)


@pytest.mark.parametrize(
    "answer",
    [
        a_result("accepted"),
        a_result("accepted", "accepted", received=1),
        a_result("accepted", "accepted", rejected=1),
        a_result("accepted", "lost"),
    ],
    ids=["too few", "received is wrong", "a total is wrong", "an unknown fate"],
)
def test_a_response_with_inconsistent_counts_stops_the_sender(answer: Answer) -> None:
    with sending(Server(answer)) as (sender, _, _), pytest.raises(ImportStopped, match="does not add up"):
        list(sender.send([an_event(), an_event(2)]))
    assert sender.tally.sent == 0


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}"])
def test_a_server_that_is_not_muster_is_recognized(body: bytes) -> None:
    with sending(Server((200, {}, body))) as (sender, _, _), pytest.raises(ImportStopped, match="Is the server Muster"):
        list(sender.send([an_event()]))


def test_batches_keep_the_order_and_both_limits() -> None:
    events = [an_event(1 + number % 28, padding=5000 if number < 300 else 0) for number in range(1500)]
    made = list(batches(events))
    assert [event for batch in made for event in batch] == events
    assert max(len(batch) for batch in made) == MAX_BATCH_EVENTS
    assert all(sum(len(event.body) + 1 for event in batch) <= MAX_BATCH_BYTES + 1 for batch in made)
    assert len(made[0]) < MAX_BATCH_EVENTS
