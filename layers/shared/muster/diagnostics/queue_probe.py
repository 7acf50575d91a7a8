"""Reads the queue of buffered ingest without removing messages from it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from muster.ingest.queue import unpack
from muster.platform.settings import Settings

MAX_MESSAGES = 10
# Each read counts as one of the 200 receives after which SQS moves a message to the dead-letter queue.
MAX_READS = 5
# Diagnostics must answer within five seconds.
TIMEOUT_SECONDS = 1.0
# The index of the version digit in a UUID's text.
_VERSION = 14
_WAITING, _IN_FLIGHT = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"


class QueueUnreachable(Exception):
    """SQS does not answer or denies access; the message is the error's code."""


@dataclass(frozen=True, slots=True)
class Depth:
    """The approximate numbers of messages in the queue and its dead-letter queue."""

    waiting: int
    in_flight: int
    """Being stored now, or waiting for a retry."""
    dead: int
    dead_arn: str | None
    oldest_seconds: float | None
    """The age of the oldest message that was read."""


@dataclass(frozen=True, slots=True)
class Queued:
    """An event that is in the queue."""

    batch_id: str
    session_id: str | None
    request_id: str
    received_at: str
    rejected: dict[str, Any] | None
    """{"reason", "details"} if the event did not pass validation; it is quarantined when its batch is stored."""


def measure(settings: Settings) -> Depth:
    """Count the messages in the queue.

    Raises:
        QueueUnreachable: SQS does not answer or denies access.
    """
    queue = _attributes(settings, settings.queue_url)
    dead = _attributes(settings, settings.dead_letter_queue_url)
    waiting = int(queue.get(_WAITING, 0))
    sent = [int(message["Attributes"]["SentTimestamp"]) / 1000 for message in _read(settings)] if waiting else []
    return Depth(
        waiting=waiting,
        in_flight=int(queue.get(_IN_FLIGHT, 0)),
        dead=int(dead.get(_WAITING, 0)),
        dead_arn=dead.get("QueueArn"),
        oldest_seconds=max(time.time() - min(sent), 0.0) if sent else None,
    )


def find_event(settings: Settings, event_id: str) -> Queued | None:
    """Find an event among the first messages of the queue.

    Raises:
        QueueUnreachable: SQS does not answer or denies access.
    """
    seen: set[str] = set()
    for _ in range(MAX_READS):
        messages = [message for message in _read(settings) if message["MessageId"] not in seen]
        for message in messages:
            seen.add(message["MessageId"])
            if found := _find(message["Body"], event_id):
                return found
        if not messages:
            return None
    return None


def _find(text: str, event_id: str) -> Queued | None:
    try:
        message = unpack(text)
    except ValueError:
        return None  # not a message of Muster; the function consume reports it
    body = message.get("body")
    # A derived id (UUID version 8) is not in the text. Any other id is.
    if body is None or (event_id not in body.lower() and event_id[_VERSION] != "8"):
        return None
    # Imported here, because only buffered mode needs them.
    from muster.ingest.parse import parse_batch  # noqa: PLC0415
    from muster.ingest.user_agents import Agent  # noqa: PLC0415

    batch = parse_batch(body, Agent(*message["agent"]))
    if event_id not in batch.ids:
        return None
    rejected = next((each for each in batch.rejections if each.event_id == event_id), None)
    return Queued(
        batch_id=message["batchId"],
        session_id=batch.envelope.get("sessionId"),
        request_id=message["requestId"],
        received_at=message["receivedAt"],
        rejected=None if rejected is None else {"reason": rejected.reason, "details": rejected.details},
    )


def _read(settings: Settings) -> Iterator[dict[str, Any]]:
    answer = _ask_sqs(
        settings,
        "receive_message",
        QueueUrl=settings.queue_url,
        MaxNumberOfMessages=MAX_MESSAGES,
        VisibilityTimeout=0,
        WaitTimeSeconds=0,
        AttributeNames=["SentTimestamp"],
    )
    yield from answer.get("Messages", [])


def _attributes(settings: Settings, url: str | None) -> dict[str, str]:
    if url is None:
        return {}
    answer = _ask_sqs(settings, "get_queue_attributes", QueueUrl=url, AttributeNames=[_WAITING, _IN_FLIGHT, "QueueArn"])
    return dict(answer["Attributes"])


def _ask_sqs(settings: Settings, operation: str, **parameters: Any) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - only buffered mode needs it

    try:
        return dict(getattr(_client(settings.aws_region), operation)(**parameters))
    except ClientError as error:
        raise QueueUnreachable(error.response["Error"]["Code"]) from error
    except BotoCoreError as error:
        raise QueueUnreachable(type(error).__name__) from error


@cache
def _client(region: str) -> Any:
    import boto3  # noqa: PLC0415 - it costs 333 ms of CPU, and only buffered mode needs it
    from botocore.config import Config  # noqa: PLC0415 - as above

    limits = Config(connect_timeout=TIMEOUT_SECONDS, read_timeout=TIMEOUT_SECONDS, retries={"total_max_attempts": 1})
    return boto3.client("sqs", region_name=region, config=limits)
