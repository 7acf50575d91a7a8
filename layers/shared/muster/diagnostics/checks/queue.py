"""The check of the queue of buffered ingest."""

from muster.db.client import Connection
from muster.diagnostics.checks.model import Context, Finding
from muster.diagnostics.queue_probe import QueueUnreachable, measure

STUCK_SECONDS = 300


def queue(_: Connection, context: Context) -> Finding:
    """Whether queued batches are being stored."""
    settings = context.settings
    if settings.ingest_mode != "buffered":
        return Finding("skip", "IngestMode is direct: there is no queue.")
    try:
        depth = measure(settings)
    except QueueUnreachable as error:
        remedy = (
            "Allow this function to reach SQS (NAT gateway or VPC endpoint) and to read both queues, as template.yaml "
            "does."
        )
        return Finding("warn", f"The queue cannot be read: {error}.", remedy)
    data = {
        "waiting": depth.waiting,
        "beingStored": depth.in_flight,
        "dead": depth.dead,
        "oldestSeconds": depth.oldest_seconds,
    }
    if depth.dead:
        remedy = f"aws sqs start-message-move-task --source-arn {depth.dead_arn}"
        summary = f"{depth.dead} messages are in the dead-letter queue: storing them failed 200 times."
        return Finding("fail", summary, f"{remedy} # after fixing the cause of the failures", data)
    if (depth.oldest_seconds or 0) > STUCK_SECONDS:
        remedy = (
            "aws lambda list-event-source-mappings --function-name CONSUME-FUNCTION # its State must be Enabled. If it "
            "is, read the function's log"
        )
        summary = f"Queued messages are not being stored: the oldest has waited {depth.oldest_seconds:.0f} s."
        return Finding("fail", summary, remedy, data)
    summary = f"No message has waited longer than {STUCK_SECONDS} s, and the dead-letter queue is empty."
    return Finding("pass", summary, data=data)
