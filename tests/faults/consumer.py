"""Invokes the queue consumer with messages of the queue, in any order, and some of them twice."""

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from local.gateway.environments import EnvironmentPool, FunctionError, FunctionTimeoutError
from tests.faults.environment import FaultEnvironment
from tests.faults.functions import load_functions

WORKERS = 2
MAX_MESSAGES = 10
TWICE_SHARE = 0.2
PAUSE_SECONDS = 0.1


@contextmanager
def running_consumer(environment: FaultEnvironment, seed: str) -> Iterator[None]:
    """Consume the queue until the context ends."""
    stopped = threading.Event()
    workers = []
    for number in range(WORKERS):
        rng = random.Random(f"{seed} consumer {number}")  # noqa: S311 - faults, not secrets
        workers.append(threading.Thread(target=_work, args=(environment, rng, stopped), daemon=True))
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        stopped.set()
        for worker in workers:
            worker.join()


def _work(environment: FaultEnvironment, rng: random.Random, stopped: threading.Event) -> None:
    function = load_functions().functions["ConsumeFunction"]
    with asyncio.Runner() as runner:
        pool = EnvironmentPool(function, environment.function_variables("direct"), environment.log, limit=1)
        while not stopped.is_set():
            runner.run(_consume(environment, rng, pool))
        runner.run(pool.close())


async def _consume(environment: FaultEnvironment, rng: random.Random, pool: EnvironmentPool) -> None:
    sqs, queue = environment.aws.sqs, environment.aws.queue_url
    # Not WaitTimeSeconds: the queue's server answers one request at a time.
    options = {"QueueUrl": queue, "MaxNumberOfMessages": MAX_MESSAGES, "WaitTimeSeconds": 0}
    answer = await asyncio.to_thread(sqs.receive_message, **options)
    messages = answer.get("Messages", [])
    if not messages:
        await asyncio.sleep(PAUSE_SECONDS)
        return
    rng.shuffle(messages)
    failed = await _invoke(pool, messages)
    if rng.random() < TWICE_SHARE:
        failed |= await _invoke(pool, messages)
    for message in messages:
        if message["MessageId"] not in failed:
            # A message that took long was delivered again, and the other worker may have deleted it.
            with suppress(sqs.exceptions.ReceiptHandleIsInvalid):
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


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
