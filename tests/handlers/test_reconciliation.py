"""Reconciliation of the fault suite: every violated invariant is found."""

import uuid
from collections.abc import Callable

import psycopg
import pytest

from tests.faults.books import imbalances
from tests.faults.clients import Ledger
from tests.support.functions import Caller, a_batch, an_event

POST = "POST /v1/events"


@pytest.fixture
def ledger(post: Caller) -> Ledger:
    """The delivery report of a client that sent two batches with an invalid event each."""
    kept, session = Ledger(), str(uuid.uuid4())
    for number in (1, 2):
        events = [an_event(), an_event()]
        post(POST, a_batch(*events, an_event(eventType=""), sessionId=session, sequence=number))
        kept.spoilt += 1
        kept.batches[session] = number
        for event in events:
            kept.sent[event["id"]] = session
            kept.acknowledged[event["id"]] = "accepted"
    return kept


def one(ledger: Ledger) -> str:
    return next(iter(ledger.sent))


FAULTS: dict[str, tuple[str, Callable[[Ledger], object]]] = {
    "acknowledged and not stored": ("DELETE FROM muster.analytics_events WHERE id = '{one}'", one),
    "stored and never acknowledged": ("SELECT 1", lambda ledger: ledger.acknowledged.pop(one(ledger))),
    "stored and never sent": ("SELECT 1", lambda ledger: ledger.sent.pop(one(ledger))),
    "sent and never acknowledged": ("SELECT 1", lambda ledger: ledger.sent.update({str(uuid.uuid4()): "x"})),
    "stored more than once": (
        "INSERT INTO muster.analytics_events SELECT project_id, session_id, id, occurred_at - interval '1 s', "
        "received_at, batch_id, xid, user_id, event_type, area, data FROM muster.analytics_events WHERE id = '{one}'",
        one,
    ),
    "of another session": ("UPDATE muster.analytics_events SET session_id = id WHERE id = '{one}'", one),
    "sessions that count otherwise": ("UPDATE muster.analytics_sessions SET events_count = 9", one),
    "sessions with gaps": ("UPDATE muster.analytics_sessions SET batches = '{{[2,3)}}'", one),
    "are in the quarantine": ("DELETE FROM muster.analytics_rejections WHERE event_index = 2", one),
    "rollups are not what": (
        "SELECT muster.roll_up(id, 1000) FROM muster.projects; UPDATE muster.rollup_days SET sessions = 7",
        one,
    ),
    "had 3 accepted": ("SELECT 1", lambda ledger: ledger.violations.append("a batch sent again had 3 accepted events")),
}


def test_a_consistent_database_has_no_violations(ledger: Ledger, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        assert imbalances(connection, [ledger]) == []


@pytest.mark.parametrize("named", FAULTS)
def test_a_violated_invariant_is_named(ledger: Ledger, database_url: str, named: str) -> None:
    statement, change = FAULTS[named]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(statement.format(one=one(ledger)).encode())
        change(ledger)
        assert any(named in sentence for sentence in imbalances(connection, [ledger]))
