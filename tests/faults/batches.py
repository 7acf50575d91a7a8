"""Makes batches of events for each path of ingest. The same seed makes the same batches."""

import random
import uuid
from typing import Any

from tests.faults.record import ClientRecord
from tests.support.functions import an_event

Batch = dict[str, Any]
Event = dict[str, Any]

SHARED_SESSION_SUFFIX = "-0000-4000-8000-000000000000"
MAX_EVENTS = 20
# Validation rejects the first. Only the database rejects the second.
INVALID = ({"eventType": ""}, {"timestamp": "2001-01-01T00:00:00Z"})


def make_shared_sessions(rng: random.Random, count: int = 6) -> list[str]:
    """Sessions that several clients send events of."""
    return [f"{rng.getrandbits(32):08x}{SHARED_SESSION_SUFFIX}" for _ in range(count)]


class BatchMaker:
    """Makes one client's batches and records what they hold."""

    def __init__(self, rng: random.Random, shared_sessions: list[str], record: ClientRecord) -> None:
        self._rng = rng
        self._sessions = [self._uuid() for _ in range(2)]
        self._shared = shared_sessions
        self._record = record

    def make(self) -> Batch:
        """The next batch: a lone event, several events of one session, or events that need the full path."""
        session = self._rng.choice(self._sessions)
        make_event, count = self._rng.choice([
            (self._plain_event, 1),
            (self._plain_event, self._rng.randint(2, MAX_EVENTS)),
            (self._any_event, self._rng.randint(1, MAX_EVENTS)),
        ])  # fmt: skip
        number = self._record.last_sequences.get(session, 0) + 1
        self._record.last_sequences[session] = number
        events = [make_event(session) for _ in range(count)]
        return {"sessionId": session, "userId": f"user-{session[:8]}", "sequence": number, "events": events}

    def _plain_event(self, session: str) -> Event:
        event = an_event(id=self._uuid())
        self._record.sent[event["id"]] = session
        return event

    def _any_event(self, session: str) -> Event:
        drawn = self._rng.random()
        if drawn < 0.1:
            self._record.invalid[session] += 1
            return an_event(id=self._uuid()) | self._rng.choice(INVALID)
        if drawn < 0.5:
            shared = self._rng.choice(self._shared)
            return self._plain_event(shared) | {"sessionId": shared}
        return self._plain_event(session)

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
