"""The messages of buffered mode: how a batch is packed, split and grouped, and which errors are permanent."""

import base64
import json
import zlib
from typing import Any

import pytest

from muster.ingest import enqueue, queue
from muster.ingest.consume import _is_permanent
from muster.ingest.queue import MAX_MESSAGE_BYTES, _groups, pack, unpack
from muster.platform.errors import DatabaseUnavailable
from muster.platform.settings import Settings


class Client:
    """Stands for boto3's client of SQS."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.requests: list[dict[str, Any]] = []

    def send_message_batch(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        return self.answer


def test_a_message_is_unpacked_as_it_was_packed() -> None:
    message = {"body": '{"events": ["ü"]}', "count": 1, "agent": None}
    assert unpack(pack(message)) == message


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "!" + pack({}),
        base64.b64encode(b"not compressed").decode(),
        base64.b64encode(zlib.compress(b"not json")).decode(),
        base64.b64encode(zlib.compress(b"7")).decode(),
    ],
)
def test_a_foreign_message_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of several types
        unpack(text)


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ([], [0]),
        ([1] * 10, [10]),
        ([1] * 21, [10, 10, 1]),
        ([MAX_MESSAGE_BYTES - 3, 3, MAX_MESSAGE_BYTES - 3, 3], [2, 2]),
        ([MAX_MESSAGE_BYTES - 3, 4, MAX_MESSAGE_BYTES - 4, 1], [1, 2, 1]),
        ([MAX_MESSAGE_BYTES] * 2, [1, 1]),
    ],
)
def test_a_request_has_at_most_ten_messages_and_one_megabyte(sizes: list[int], groups: list[int]) -> None:
    assert MAX_MESSAGE_BYTES == 1_048_576
    messages = [chr(ord("a") + number) * size for number, size in enumerate(sizes)]
    found = _groups(messages)
    assert [len(group) for group in found] == groups
    assert [text for group in found for text in group] == messages


def test_a_queue_that_does_not_accept_a_message_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client({})
    monkeypatch.setattr(queue, "_client", lambda _: client)
    queue.send(Settings(queue_url="https://queue.invalid"), ["a"] * 11)
    assert [[entry["Id"] for entry in request["Entries"]] for request in client.requests] == [
        [str(number) for number in range(10)],
        ["0"],
    ]
    client.answer = {"Failed": [{"Id": "0"}]}
    with pytest.raises(DatabaseUnavailable):
        queue.send(Settings(queue_url="https://queue.invalid"), ["a"])


def test_a_batch_is_halved_until_each_part_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [{"n": number} for number in range(5)]
    text = json.dumps({"sessionId": "s", "events": events, "userId": "ü"})
    (whole,) = enqueue._messages({}, text, count=5)
    monkeypatch.setattr(enqueue, "MAX_MESSAGE_BYTES", len(whole))
    assert list(enqueue._messages({}, text, count=5)) == [whole]
    monkeypatch.setattr(enqueue, "MAX_MESSAGE_BYTES", len(whole) - 1)
    assert [unpack(each)["count"] for each in enqueue._messages({}, text, count=5)] == [2, 3]
    # A single event is never split.
    monkeypatch.setattr(enqueue, "MAX_MESSAGE_BYTES", 1)
    parts = [unpack(each) for each in enqueue._messages({"batchId": "b"}, text, count=5, first_index=40)]
    assert [(part["batchId"], part["firstIndex"], part["count"]) for part in parts] == [
        ("b", 40 + number, 1) for number in range(5)
    ]
    assert [json.loads(part["body"]) for part in parts] == [
        {"sessionId": "s", "userId": "ü", "events": [event]} for event in events
    ]


@pytest.mark.parametrize(
    ("sqlstate", "is_permanent"),
    [("22003", True), ("23502", True), ("23514", False), ("40001", False), ("42P01", False), (None, False)],
)
def test_only_an_error_of_the_values_is_permanent(sqlstate: str | None, is_permanent: bool) -> None:
    assert _is_permanent(DatabaseUnavailable(sqlstate=sqlstate)) is is_permanent
