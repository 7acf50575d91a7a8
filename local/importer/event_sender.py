"""Sends batches of events to POST /v1/events, retries where that helps, and counts every result."""

import gzip
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx

from local.importer.sessionize import ImportedEvent

MAX_BATCH_EVENTS = 500
# The API accepts 1 MB. This much JSON stays below that, compressed or not.
MAX_BATCH_BYTES = 900_000
TRIES = 8
MAX_PAUSE_SECONDS = 60.0
FIRST_LINES = 10
_TIMEOUT_SECONDS = 60.0
_TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_BODY_HEADERS = {"content-type": "application/json", "content-encoding": "gzip"}
_BATCH_RESULT = frozenset({"received", "accepted", "duplicates", "ignored", "rejected", "events"})
_USER_AGENT = "python-muster-import"  # the server treats "python-" as a program, not as a crawler


class ImportStopped(Exception):
    """The import cannot go on. The message says why."""


@dataclass
class Tally:
    """Counts the results of all events sent so far."""

    sent: int = 0
    batches: int = 0
    accepted: int = 0
    queued: int = 0
    duplicates: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    rejected_lines: dict[str, list[int]] = field(default_factory=dict)
    first_day: date | None = None
    """The first day of events that were not rejected. A line of the year 9999 must not stretch the metrics."""
    last_day: date | None = None

    @property
    def adds_up(self) -> bool:
        """Whether every event sent has exactly one result."""
        return self.sent == self.accepted + self.duplicates + self.ignored.total() + self.rejected.total()

    def add(self, batch: list[ImportedEvent], answer: dict[str, Any]) -> None:
        """Count the response to one batch, event by event.

        Raises:
            ImportStopped: the response does not account for every event.
        """
        results = Counter(result["status"] for result in answer["events"])
        totals = (answer["accepted"], answer["duplicates"], answer["ignored"], answer["rejected"])
        by_event = (
            results["accepted"] + results["queued"],
            results["duplicate"],
            results["ignored"],
            results["rejected"],
        )
        if answer["received"] != len(batch) or totals != by_event or sum(by_event) != len(batch):
            raise ImportStopped(
                f"The response to a batch of {len(batch)} events does not add up. It says received "
                f"{answer['received']}, accepted {totals[0]}, duplicates {totals[1]}, ignored {totals[2]}, rejected "
                f"{totals[3]}, but its single results are {dict(results)}."
            )
        self.sent += len(batch)
        self.batches += 1
        self.accepted += by_event[0]
        self.queued += results["queued"]
        self.duplicates += by_event[1]
        for result in answer["events"]:
            event = batch[result["index"]]
            reason = result.get("reason") or "unknown"
            if result["status"] == "rejected":
                self._add_rejected(reason, event.line)
                continue
            if result["status"] == "ignored":
                self.ignored[reason] += 1
            day = event.at.date()
            self.first_day = min(self.first_day or day, day)
            self.last_day = max(self.last_day or day, day)

    def _add_rejected(self, reason: str, line: int) -> None:
        self.rejected[reason] += 1
        lines = self.rejected_lines.setdefault(reason, [])
        if len(lines) < FIRST_LINES:
            lines.append(line)


class EventSender:
    """Sends events to one server with one key."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        self._sleep = sleep
        self._notify = notify
        self._client = open_client(url, key)
        self.tally = Tally()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def send(self, events: Iterable[ImportedEvent]) -> Iterator[int]:
        """Send all events. Yield the size of each batch once it is sent.

        Raises:
            ImportStopped: the server refused a batch, or did not receive it. `tally` counts the batches before it.
        """
        for batch in batches(events):
            self.tally.add(batch, self._deliver(batch))
            yield len(batch)

    def _deliver(self, batch: list[ImportedEvent]) -> dict[str, Any]:
        body = gzip.compress(b'{"events":[' + b",".join(event.body for event in batch) + b"]}", 6, mtime=0)
        problem = ""
        for attempt in range(TRIES):
            try:
                response = self._client.post("/v1/events", content=body, headers=_BODY_HEADERS)
            except httpx.RequestError as error:
                problem, asked = f"the connection failed ({error or type(error).__name__})", 0.0
            else:
                if response.is_success:
                    return _answer(response)
                problem, asked = describe(response), _retry_after(response)
                if response.status_code not in _TRY_AGAIN:
                    raise ImportStopped(f"The server refused a batch: {problem}")
            if attempt + 1 < TRIES:
                self._wait(min(max(asked, 0.5 * 2**attempt), MAX_PAUSE_SECONDS), problem)
        raise ImportStopped(f"A batch could not be delivered in {TRIES} tries. The last one failed: {problem}")

    def _wait(self, seconds: float, problem: str) -> None:
        if self._notify:
            self._notify(f"Trying again in {seconds:.1f} s: {problem}")
        self._sleep(seconds)


def batches(events: Iterable[ImportedEvent]) -> Iterator[list[ImportedEvent]]:
    """Group events into batches as large as the API accepts."""
    batch: list[ImportedEvent] = []
    size = 0
    for event in events:
        if batch and (len(batch) == MAX_BATCH_EVENTS or size + len(event.body) > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += len(event.body) + 1
    if batch:
        yield batch


def open_client(url: str, key: str) -> httpx.Client:
    """An HTTP client for the server at `url`."""
    return httpx.Client(
        base_url=url,
        headers={
            "authorization": f"Bearer {key}",
            "user-agent": _USER_AGENT,
        },
        timeout=_TIMEOUT_SECONDS,
        # A proxy for the internet cannot reach the loopback interface of this machine.
        trust_env=not _is_loopback(urlsplit(url).hostname or ""),
    )


def describe(response: httpx.Response) -> str:
    """The status and the error message of a response."""
    try:
        error = response.json()["error"]
        return f"{response.status_code} {error['code']}: {error['message']}"
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} {response.reason_phrase}"


def _answer(response: httpx.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or not answer.keys() >= _BATCH_RESULT:
        raise ImportStopped(f"The response {response.status_code} is not a batch result. Is the server Muster?")
    return answer


def _retry_after(response: httpx.Response) -> float:
    try:
        return max(0.0, float(response.headers.get("retry-after", "")))
    except ValueError:  # absent, or a date
        return 0.0


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
