"""The reconciliation of the fault suite finds each broken invariant."""

import uuid
from collections.abc import Callable

import psycopg
import pytest

from tests.faults.reconciliation import find_broken_invariants
from tests.faults.record import ClientRecord
from tests.support.functions import Caller, a_batch, an_event

POST = "POST /v1/events"


@pytest.fixture
def record(post: Caller) -> ClientRecord:
    """A client's record of two batches, each with one invalid event."""
    made, session = ClientRecord(), str(uuid.uuid4())
    for number in (1, 2):
        events = [an_event(), an_event()]
        post(POST, a_batch(*events, an_event(eventType=""), sessionId=session, sequence=number))
        made.invalid[session] += 1
        made.last_sequences[session] = number
        for event in events:
            made.sent[event["id"]] = session
            made.acknowledged[event["id"]] = "accepted"
    return made


def one(record: ClientRecord) -> str:
    return next(iter(record.sent))


BREAKS: dict[str, tuple[str, Callable[[ClientRecord], object]]] = {
    "acknowledged but are not stored": ("DELETE FROM muster.analytics_events WHERE id = '{one}'", one),
    "stored but were never acknowledged": ("SELECT 1", lambda record: record.acknowledged.pop(one(record))),
    "stored but were never sent": ("SELECT 1", lambda record: record.sent.pop(one(record))),
    "sent but never acknowledged": ("SELECT 1", lambda record: record.sent.update({str(uuid.uuid4()): "x"})),
    "stored more than once": (
        "INSERT INTO muster.analytics_events SELECT project_id, session_id, id, occurred_at - interval '1 s', "
        "received_at, batch_id, xid, user_id, event_type, area, data FROM muster.analytics_events WHERE id = '{one}'",
        one,
    ),
    "stored in another session": ("UPDATE muster.analytics_events SET session_id = id WHERE id = '{one}'", one),
    "wrong events_count": ("UPDATE muster.analytics_sessions SET events_count = 9", one),
    "1 missing batches, not 0": ("UPDATE muster.analytics_sessions SET batches = '{{[2,3)}}'", one),
    "the quarantine has": ("DELETE FROM muster.analytics_rejections WHERE event_index = 2", one),
    "roll-ups differ from the events": (
        "SELECT muster.roll_up(id, 1000) FROM muster.projects; UPDATE muster.rollup_days SET sessions = 7",
        one,
    ),
    "had 3 accepted": ("SELECT 1", lambda record: record.violations.append("a batch sent again had 3 accepted events")),
}


def test_a_correct_database_breaks_no_invariant(record: ClientRecord, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        assert find_broken_invariants(connection, [record]) == []


@pytest.mark.parametrize("sentence", BREAKS)
def test_each_broken_invariant_is_named(record: ClientRecord, database_url: str, sentence: str) -> None:
    statement, change = BREAKS[sentence]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(statement.format(one=one(record)).encode())
        change(record)
        assert any(sentence in found for found in find_broken_invariants(connection, [record]))
