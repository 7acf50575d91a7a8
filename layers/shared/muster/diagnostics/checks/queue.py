"""The check of the queue of buffered ingest."""

from muster.db.client import Connection
from muster.diagnostics.checks.model import Context, Finding
from muster.diagnostics.queue_probe import QueueUnreachable, measure

STUCK_SECONDS = 300


def queue(_: Connection, context: Context) -> Finding:
    """Whether what was queued is stored soon."""
    settings = context.settings
    if settings.ingest_mode != "buffered":
        return Finding("skip", "Ingest is direct: there is no queue.")
    try:
        depth = measure(settings)
    except QueueUnreachable as error:
        remedy = "Give this function a way to SQS and the permission to read both queues, as template.yaml does."
        return Finding("warn", f"The queue cannot be looked at: {error}.", remedy)
    data = {
        "waiting": depth.waiting,
        "beingStored": depth.in_flight,
        "dead": depth.dead,
        "oldestSeconds": depth.oldest_seconds,
    }
    if depth.dead:
        remedy = f"aws sqs start-message-move-task --source-arn {depth.dead_arn}"
        summary = f"{depth.dead} messages could not be stored in 200 tries and wait in the dead-letter queue."
        return Finding("fail", summary, f"{remedy} # once what they failed of is mended", data)
    if (depth.oldest_seconds or 0) > STUCK_SECONDS:
        remedy = "aws lambda list-event-source-mappings --function-name CONSUME-FUNCTION # Enabled? its log says more"
        summary = f"Messages wait in the queue for over {depth.oldest_seconds:.0f} s: they are not stored."
        return Finding("fail", summary, remedy, data)
    return Finding("pass", "What was queued is stored soon.", data=data)
