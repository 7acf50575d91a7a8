"""Clients with real queues: what is not acknowledged is kept and sent again, in the same batch, until it is."""

import random
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.functions import an_event

MOST_WAIT_SECONDS = 0.4
IMPATIENT_SECONDS = 0.05
PATIENT_SECONDS = 30.0


@dataclass
class Ledger:
    """What one client sent and was told; read when its thread has ended."""

    sent: dict[str, str] = field(default_factory=dict)
    """Valid events, each with its session."""
    spoilt: int = 0
    """Events that must be rejected."""
    acknowledged: dict[str, str] = field(default_factory=dict)
    """Valid events, each with the status of its first acknowledgement."""
    batches: dict[str, int] = field(default_factory=dict)
    """The sequence number of the last batch of each session."""
    statuses: Counter[str] = field(default_factory=Counter)
    """HTTP statuses, and kinds of broken connections."""
    violations: list[str] = field(default_factory=list)


class Client(threading.Thread):
    """Makes events until it is told to stop, then sends what its queue holds."""

    def __init__(self, url: str, key: str, seed: int, shared_sessions: list[str]) -> None:
        super().__init__(name=f"client-{seed}", daemon=True)
        self.ledger = Ledger()
        self.told_to_stop = threading.Event()
        self.queue: list[dict[str, Any]] = []
        self._chance = random.Random(seed)  # noqa: S311 - faults, not secrets
        self._sessions = [self._uuid() for _ in range(2)]
        self._shared = shared_sessions
        self._url = f"{url}/v1/events"
        self._headers = {"authorization": f"Bearer {key}"}

    def run(self) -> None:
        """Send until all is acknowledged."""
        with httpx.Client(trust_env=False, timeout=PATIENT_SECONDS) as http:
            while not self.told_to_stop.is_set():
                self.queue.append(self._new_batch())
                self._flush(http)
                if self._chance.random() < 0.1:
                    self._send_again(http)
            self._flush(http)

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))

    def _new_batch(self) -> dict[str, Any]:
        session = self._chance.choice(self._sessions)
        number = self.ledger.batches[session] = self.ledger.batches.get(session, 0) + 1
        listed = [self._new_event(session) for _ in range(self._chance.randint(1, 20))]
        return {"sessionId": session, "userId": f"user-{session[:8]}", "sequence": number, "events": listed}

    def _new_event(self, session: str) -> dict[str, Any]:
        event = an_event(id=self._uuid())
        if self._chance.random() < 0.03:
            self.ledger.spoilt += 1
            return event | self._chance.choice([{"eventType": ""}, {"timestamp": "2001-01-01T00:00:00Z"}])
        if self._chance.random() < 0.2:
            event["sessionId"] = session = self._chance.choice(self._shared)
        self.ledger.sent[event["id"]] = session
        return event

    def _flush(self, http: httpx.Client) -> None:
        while self.queue:
            answer = self._post(http, self.queue[0])
            if answer is not None:
                self._note(self.queue.pop(0), answer)

    def _send_again(self, http: httpx.Client) -> None:
        """A batch that was acknowledged, once more: nothing of it may be new."""
        batch = self._last
        answer = None
        while answer is None:
            answer = self._post(http, batch)
        if answer["accepted"] and answer["status"] == "committed":
            self.ledger.violations.append(f"a batch sent again had {answer['accepted']} accepted events")

    def _post(self, http: httpx.Client, batch: dict[str, Any]) -> dict[str, Any] | None:
        """The answer of 2xx; none after any other, and after the wait that it asks for."""
        timeout = IMPATIENT_SECONDS if self._chance.random() < 0.05 else PATIENT_SECONDS
        wait = 1.0
        try:
            response = http.post(self._url, json=batch, headers=self._headers, timeout=timeout)
            self.ledger.statuses[str(response.status_code)] += 1
            if response.status_code in (200, 202):
                return dict(response.json())
            if response.status_code not in (429, 500, 502, 503, 504):
                self.ledger.violations.append(f"{response.status_code}: {response.text[:300]}")
            wait = float(response.headers.get("retry-after", 1))
        except httpx.TransportError as error:
            self.ledger.statuses[type(error).__name__] += 1
        # As retry-after says, but in the test's time, and not all at once.
        time.sleep(min(wait, MOST_WAIT_SECONDS) * self._chance.uniform(0.1, 1))
        return None

    def _note(self, batch: dict[str, Any], answer: dict[str, Any]) -> None:
        self._last = batch
        told = sum(answer[name] for name in ("accepted", "duplicates", "rejected", "ignored"))
        if not answer["received"] == told == len(batch["events"]) == len(answer["events"]):
            self.ledger.violations.append(f"a batch does not add up: {answer}")
        for event, result in zip(batch["events"], answer["events"], strict=True):
            must_be_rejected = event["id"] not in self.ledger.sent
            # What only the database rejects is queued at first.
            may_come = must_be_rejected and result["status"] == "queued"
            if must_be_rejected != (result["status"] == "rejected") and not may_come:
                self.ledger.violations.append(f"an event is {result}")
            if not must_be_rejected:
                self.ledger.acknowledged.setdefault(event["id"], result["status"])
