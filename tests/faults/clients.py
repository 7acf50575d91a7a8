"""Clients with real queues: a batch is sent again until it is acknowledged."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.faults.batches import Batch, BatchMaker, make_shared_sessions
from tests.faults.environment import FaultEnvironment
from tests.faults.record import ClientRecord

CLIENTS = 4
MAX_BACKOFF_SECONDS = 0.4
IMPATIENT_SECONDS = 0.05
PATIENT_SECONDS = 60.0
IMPATIENT_SHARE, SENT_AGAIN_SHARE = 0.05, 0.1
ACKNOWLEDGED = (200, 202)
# The queue takes batches faster than the consumer stores them, and the round ends only when it is empty.
PAUSE_SECONDS = {"direct": 0.0, "buffered": 0.25}
RETRIED = (429, 500, 502, 503, 504)


class Client(threading.Thread):
    """Makes and sends batches until `stop`, then sends what its queue holds."""

    def __init__(self, name: str, environment: FaultEnvironment, seed: str, shared_sessions: list[str]) -> None:
        super().__init__(name=name, daemon=True)
        self.record = ClientRecord()
        self._batches = BatchMaker(_rng(f"{seed} batches"), shared_sessions, self.record)
        self._rng = _rng(f"{seed} timing")
        self._stopped, self._abandoned = threading.Event(), threading.Event()
        self._pause_seconds = PAUSE_SECONDS[environment.mode]
        self._url = f"{environment.url}/v1/events"
        self._headers = {"authorization": f"Bearer {environment.project.keys['write']}"}

    def run(self) -> None:
        """Send until every batch is acknowledged."""
        with httpx.Client(trust_env=False, timeout=PATIENT_SECONDS) as http:
            while not self._stopped.is_set():
                batch = self._batches.make()
                if answer := self._send(http, batch):
                    self._check(batch, answer)
                    if self._rng.random() < SENT_AGAIN_SHARE and (answer := self._send(http, batch)):
                        self._check_sent_again(answer)
                self._stopped.wait(self._pause_seconds)

    def has_acknowledged(self, batches: int) -> bool:
        """Whether at least so many batches were acknowledged."""
        return self.record.acknowledged_batches >= batches

    def has_ended(self) -> bool:
        """Whether it has sent everything, or its thread has failed."""
        return not self.is_alive()

    def stop(self) -> None:
        """Make no more batches."""
        self._stopped.set()

    def abandon(self) -> None:
        """Stop, and do not send what is not acknowledged."""
        self._abandoned.set()
        self._stopped.set()

    def _send(self, http: httpx.Client, batch: Batch) -> dict[str, Any] | None:
        """The acknowledgement, after as many attempts as it takes; None if the client was abandoned."""
        while not self._abandoned.is_set():
            answer = self._post(http, batch)
            if answer is not None:
                return answer
        return None

    def _post(self, http: httpx.Client, batch: Batch) -> dict[str, Any] | None:
        """The acknowledgement; None if the attempt failed, after a pause."""
        timeout = IMPATIENT_SECONDS if self._rng.random() < IMPATIENT_SHARE else PATIENT_SECONDS
        retry_after = 1.0
        try:
            response = http.post(self._url, json=batch, headers=self._headers, timeout=timeout)
            self.record.answers[str(response.status_code)] += 1
            if response.status_code in ACKNOWLEDGED:
                return dict(response.json())
            if response.status_code not in RETRIED:
                self.record.violations.append(f"{response.status_code}: {response.text[:300]}")
            retry_after = float(response.headers.get("retry-after", 1))
        except httpx.TransportError as error:
            self.record.answers[type(error).__name__] += 1
        # Shorter than retry-after asks for, to keep the test short.
        time.sleep(min(retry_after, MAX_BACKOFF_SECONDS) * self._rng.uniform(0.1, 1))
        return None

    def _check(self, batch: Batch, answer: dict[str, Any]) -> None:
        record = self.record
        total = sum(answer[name] for name in ("accepted", "duplicates", "rejected", "ignored"))
        if not answer["received"] == total == len(batch["events"]) == len(answer["events"]):
            record.violations.append(f"the counts of a response do not add up: {answer}")
        for event, result in zip(batch["events"], answer["events"], strict=True):
            status = result["status"]
            if event["id"] in record.sent:
                if status == "rejected":
                    record.violations.append(f"a valid event was answered {result}")
                record.acknowledged.setdefault(event["id"], status)
            # In buffered mode, an event that only the database rejects is queued first.
            elif status not in ("rejected", "queued"):
                record.violations.append(f"an invalid event was answered {result}")
        record.acknowledged_batches += 1

    def _check_sent_again(self, answer: dict[str, Any]) -> None:
        if answer["accepted"] and answer["status"] == "committed":
            self.record.violations.append(f"a batch sent again had {answer['accepted']} accepted events")


@contextmanager
def running_clients(environment: FaultEnvironment, seed: str) -> Iterator[list[Client]]:
    """Clients that post until the context ends. A client that was not stopped before is abandoned."""
    shared = make_shared_sessions(_rng(f"{seed} sessions"))
    names = [f"client-{number}" for number in range(1, CLIENTS + 1)]
    clients = [Client(name, environment, f"{seed} {name}", shared) for name in names]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.abandon()
        for client in clients:
            client.join()


def _rng(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311 - faults, not secrets
