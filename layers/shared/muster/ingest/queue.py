"""The queue between ingest and the database in buffered mode: batches in messages of up to 1 MB."""

import base64
import json
import zlib
from collections.abc import Sequence
from functools import cache
from typing import Any

from muster.platform.errors import DatabaseUnavailable
from muster.platform.settings import Settings

MAX_MESSAGE_BYTES = 1024 * 1024
MAX_REQUEST_MESSAGES = 10


def pack(message: dict[str, Any]) -> str:
    """A message's text: compressed JSON, in characters that SQS takes."""
    return base64.b64encode(zlib.compress(json.dumps(message, separators=(",", ":")).encode(), 6)).decode()


def unpack(text: str) -> dict[str, Any]:
    """The message of a text.

    Raises:
        ValueError: it is none of ours.
    """
    try:
        return dict(json.loads(zlib.decompress(base64.b64decode(text, validate=True))))
    except (zlib.error, TypeError) as error:
        raise ValueError("The message is none of Muster's.") from error


def send(settings: Settings, messages: Sequence[str]) -> None:
    """Queue all messages durably, or raise; what was sent before a failure is harmless, since ids make it so.

    Raises:
        DatabaseUnavailable: SQS did not take them all; the client sends its batch again.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - only buffered mode pays for it

    try:
        for group in _groups(messages):
            answer = _client(settings.aws_region).send_message_batch(
                QueueUrl=settings.queue_url,
                Entries=[{"Id": str(number), "MessageBody": text} for number, text in enumerate(group)],
            )
            if answer.get("Failed"):
                raise DatabaseUnavailable("The queue did not take the whole batch. Send the same request again.")
    except (BotoCoreError, ClientError) as error:
        message = "The queue cannot be reached; nothing is known to be queued. Send the same request again."
        raise DatabaseUnavailable(message) from error


def _groups(messages: Sequence[str]) -> list[list[str]]:
    """As many in a request as SQS takes: 10, and 1 MB of them together."""
    groups: list[list[str]] = [[]]
    size = 0
    for text in messages:
        if groups[-1] and (len(groups[-1]) == MAX_REQUEST_MESSAGES or size + len(text) > MAX_MESSAGE_BYTES):
            groups.append([])
            size = 0
        groups[-1].append(text)
        size += len(text)
    return groups


@cache
def _client(region: str) -> Any:
    import boto3  # noqa: PLC0415 - 333 ms of CPU, for buffered mode alone

    return boto3.client("sqs", region_name=region)
