"""The SQS queue of buffered mode, between ingest and the database: batches in messages of up to 1 MB."""

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
    """Encode a message as text: compressed JSON in base64."""
    return base64.b64encode(zlib.compress(json.dumps(message, separators=(",", ":")).encode(), 6)).decode()


def unpack(text: str) -> dict[str, Any]:
    """Decode a message.

    Raises:
        ValueError: the text is not one of Muster's messages.
    """
    try:
        return dict(json.loads(zlib.decompress(base64.b64decode(text, validate=True))))
    except (zlib.error, TypeError) as error:
        raise ValueError("The queue has a message that is not Muster's.") from error


def send(settings: Settings, messages: Sequence[str]) -> None:
    """Queue all messages durably.

    Raises:
        DatabaseUnavailable: SQS did not accept all messages. The client may send its batch again: event ids make the
            messages that were accepted harmless.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - only buffered mode needs it

    try:
        for group in _groups(messages):
            answer = _client(settings.aws_region).send_message_batch(
                QueueUrl=settings.queue_url,
                Entries=[{"Id": str(number), "MessageBody": text} for number, text in enumerate(group)],
            )
            if answer.get("Failed"):
                raise DatabaseUnavailable("The queue did not accept the whole batch. Send the same request again.")
    except (BotoCoreError, ClientError) as error:
        message = "The queue did not confirm the batch. Send the same request again: no event is stored twice."
        raise DatabaseUnavailable(message) from error


def _groups(messages: Sequence[str]) -> list[list[str]]:
    """The messages in groups that fit one SQS request: up to 10 messages and 1 MB in total."""
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
    import boto3  # noqa: PLC0415 - costs 333 ms of CPU, and only buffered mode needs it

    return boto3.client("sqs", region_name=region)
