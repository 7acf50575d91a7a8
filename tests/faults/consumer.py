"""What stands between the queue and the function consume: batches of messages, in any order, some of them twice."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from local.gateway.environments import EnvironmentPool, FunctionError, FunctionTimeoutError
from local.gateway.logs import FunctionLogs
from local.paths import TEMPLATE
from local.sam.template import load_template
from tests.faults.world import World, environment

CONCURRENCY = 2
MOST_MESSAGES = 10
STOP_SECONDS = 60.0


@contextmanager
def consuming(world: World) -> Iterator[None]:
    """Messages are taken from the queue as long as this lasts."""
    ended = threading.Event()
    workers = [
        threading.Thread(target=_work, args=(world, number, ended), daemon=True) for number in range(CONCURRENCY)
    ]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        ended.set()
        for worker in workers:
            worker.join(STOP_SECONDS)


def _work(world: World, number: int, ended: threading.Event) -> None:
    function = load_template(TEMPLATE, parameters={"DatabaseMode": "external"}).functions["ConsumeFunction"]
    logs = FunctionLogs(directory=world.logs / f"consumer-{number}")
    with asyncio.Runner() as runner:
        pool = EnvironmentPool(function, environment(world, "direct"), logs, limit=1)
        while not ended.is_set():
            runner.run(_take(world, pool))
        runner.run(pool.close())


async def _take(world: World, pool: EnvironmentPool) -> None:
    options = {"QueueUrl": world.queue_url, "MaxNumberOfMessages": MOST_MESSAGES, "WaitTimeSeconds": 1}
    answer = await asyncio.to_thread(world.sqs.receive_message, **options)
    messages = answer.get("Messages", [])
    if not messages:
        return
    world.chance.shuffle(messages)
    failed = await _invoke(pool, messages)
    if world.chance.random() < 0.2:
        failed |= await _invoke(pool, messages)  # once more, as a queue may
    for message in messages:
        if message["MessageId"] not in failed:
            # It was long in flight: delivered again meanwhile, stored by the other worker, and deleted.
            with suppress(world.sqs.exceptions.ReceiptHandleIsInvalid):
                world.sqs.delete_message(QueueUrl=world.queue_url, ReceiptHandle=message["ReceiptHandle"])


async def _invoke(pool: EnvironmentPool, messages: list[dict[str, Any]]) -> set[str]:
    """The messages that must stay in the queue."""
    records = [
        {"messageId": each["MessageId"], "body": each["Body"], "eventSource": "aws:sqs", "attributes": {}}
        for each in messages
    ]
    try:
        answer = await pool.invoke({"Records": records})
    except (FunctionError, FunctionTimeoutError):
        return {each["MessageId"] for each in messages}
    return {each["itemIdentifier"] for each in answer["batchItemFailures"]}
