"""Looks into the queue of buffered ingest without taking anything out of it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from muster.ingest.queue import unpack
from muster.platform.settings import Settings

MAX_MESSAGES = 10
# Each look at a message counts as one of the 200 tries that it has; few suffice while the queue is short.
MAX_LOOKS = 5
# Diagnostics must answer within five seconds.
TIMEOUT_SECONDS = 1.0
# The place of the version in a UUID's text.
_VERSION = 14
_WAITING, _IN_FLIGHT = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"


class QueueUnreachable(Exception):
    """SQS does not answer, or may not be asked; the message is the error's kind."""


@dataclass(frozen=True, slots=True)
class Depth:
    """What is in the queue and its dead-letter queue, about."""

    waiting: int
    in_flight: int
    """Being stored at this moment, or to be tried again soon."""
    dead: int
    dead_arn: str | None
    oldest_seconds: float | None
    """Of the messages that were looked at."""


@dataclass(frozen=True, slots=True)
class Queued:
    """An event that waits in the queue."""

    batch_id: str
    session_id: str | None
    request_id: str
    received_at: str
    rejected: dict[str, Any] | None
    """Of an event that did not pass validation: {"reason", "details"}; it will be quarantined with its batch."""


def measure(settings: Settings) -> Depth:
    """How much is in the queue.

    Raises:
        QueueUnreachable: SQS cannot be asked.
    """
    queue = _attributes(settings, settings.queue_url)
    dead = _attributes(settings, settings.dead_letter_queue_url)
    waiting = int(queue.get(_WAITING, 0))
    sent = [int(message["Attributes"]["SentTimestamp"]) / 1000 for message in _look(settings)] if waiting else []
    return Depth(
        waiting=waiting,
        in_flight=int(queue.get(_IN_FLIGHT, 0)),
        dead=int(dead.get(_WAITING, 0)),
        dead_arn=dead.get("QueueArn"),
        oldest_seconds=max(time.time() - min(sent), 0.0) if sent else None,
    )


def find_event(settings: Settings, event_id: str) -> Queued | None:
    """The event, when it is in one of the messages at the queue's front.

    Raises:
        QueueUnreachable: SQS cannot be asked.
    """
    seen: set[str] = set()
    for _ in range(MAX_LOOKS):
        messages = [message for message in _look(settings) if message["MessageId"] not in seen]
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
        return None  # not one of Muster's messages: consume reports it
    body = message.get("body")
    # Only a derived id (UUID version 8) is not in the text itself.
    if body is None or (event_id not in body.lower() and event_id[_VERSION] != "8"):
        return None
    # Only buffered mode pays for these imports.
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


def _look(settings: Settings) -> Iterator[dict[str, Any]]:
    answer = _ask(
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
    answer = _ask(settings, "get_queue_attributes", QueueUrl=url, AttributeNames=[_WAITING, _IN_FLIGHT, "QueueArn"])
    return dict(answer["Attributes"])


def _ask(settings: Settings, call: str, **parameters: Any) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - only buffered mode pays for it

    try:
        return dict(getattr(_client(settings.aws_region), call)(**parameters))
    except ClientError as error:
        raise QueueUnreachable(error.response["Error"]["Code"]) from error
    except BotoCoreError as error:
        raise QueueUnreachable(type(error).__name__) from error


@cache
def _client(region: str) -> Any:
    import boto3  # noqa: PLC0415 - 333 ms of CPU, for buffered mode alone
    from botocore.config import Config  # noqa: PLC0415 - as above

    limits = Config(connect_timeout=TIMEOUT_SECONDS, read_timeout=TIMEOUT_SECONDS, retries={"total_max_attempts": 1})
    return boto3.client("sqs", region_name=region, config=limits)
