"""Stores the batches that ingest queued."""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from muster.api.app import database
from muster.ingest.consume import store_message

# Only failed messages stay in the queue. The invocation succeeds even if all of them fail.
processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


def store(record: SQSRecord) -> None:
    """Store one message."""
    store_message(database(), record.body)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Store the messages; returns those that failed and must stay in the queue."""
    return process_partial_response(event=event, record_handler=store, processor=processor, context=context)
