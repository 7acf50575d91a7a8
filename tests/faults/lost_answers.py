"""Recognizes answers that say that events were stored, and checks the retries after such an answer is lost."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tests.faults.function_log import LogLine

IngestPath = Literal["fast path, one event", "fast path, several events", "full path"]
INGEST_PATHS: tuple[IngestPath, ...] = ("fast path, one event", "fast path, several events", "full path")

_UUID = rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_FAST = re.compile(rb"accepted (\d+) " + _UUID)
_FULL = re.compile(rb'"accepted": (\d+)')
# ReadyForQuery outside of a transaction: the server has committed.
_COMMITTED = b"Z\0\0\0\5I"


class StoredAnswer(NamedTuple):
    """An answer of muster.ingest_fast_path or muster.ingest_full_path."""

    path: IngestPath
    stored: int
    """The number of events that the statement stored; at least 1."""


@dataclass(frozen=True)
class LostAnswer:
    """An answer that never reached its function."""

    path: IngestPath
    stored: int
    ids: frozenset[str]
    """Every UUID of the statement: its batch, its sessions, its events."""


def read_answer(data: bytes) -> StoredAnswer | None:
    """The answer that these bytes from the server hold; None if they store nothing or are not yet committed."""
    if not data.endswith(_COMMITTED):
        return None
    if found := _FAST.search(data):
        stored = int(found[1])
        return StoredAnswer("fast path, one event" if stored == 1 else "fast path, several events", stored)
    if (found := _FULL.search(data)) and int(found[1]):
        return StoredAnswer("full path", int(found[1]))
    return None


def lose(answer: StoredAnswer, statement: bytes) -> LostAnswer:
    """The record of a lost answer to a statement."""
    return LostAnswer(answer.path, answer.stored, frozenset(found.decode() for found in re.findall(_UUID, statement)))


def find_unanswered_retries(lost: Iterable[LostAnswer], duplicates: Callable[[LostAnswer], int]) -> list[str]:
    """A sentence for each lost answer that no retry repeated; `duplicates` counts the events that a retry found."""
    return [
        f"The lost answer of the {each.path} said that {each.stored} events were stored, but retries were answered "
        f"that {found} are duplicates: {', '.join(sorted(each.ids)[:5])}"
        for each in lost
        if (found := duplicates(each)) < each.stored
    ]


def count_for_client(first_statuses: Mapping[str, str]) -> Callable[[LostAnswer], int]:
    """Counts the events that their client first heard of as duplicates; `first_statuses` are by event id."""
    return lambda lost: sum(first_statuses.get(each) == "duplicate" for each in lost.ids)


def count_in_log(lines: Sequence[LogLine]) -> Callable[[LostAnswer], int]:
    """Counts the duplicates that the queue consumer logged when it stored the batch again."""
    batches = [line for line in lines if line.get("message") == "consume_result"]
    return lambda lost: max((each["EventsDuplicate"] for each in batches if each["batch_id"] in lost.ids), default=0)
