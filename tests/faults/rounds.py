"""A round: clients post while faults occur, then everything is repaired and reconciled."""

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial

from tests.faults.catalog import FAULTS
from tests.faults.clients import Client, running_clients
from tests.faults.consumer import running_consumer
from tests.faults.environment import FaultEnvironment, Mode, fault_environment
from tests.faults.lost_answers import count_for_client, count_in_log, find_unanswered_retries
from tests.faults.reconciliation import find_broken_invariants
from tests.faults.report import Report
from tests.faults.rollups import RollupCounts, running_rollups
from tests.faults.server_faults import CannotStrikeError
from tests.faults.waiting import wait_until

MIN_BATCHES = 25
"""Acknowledged batches of each client in a round."""


def play_round(seed: int, *, seconds: float, mode: Mode = "direct", only: Sequence[str] = ()) -> Report:
    """Cause every fault once, or with those of `only`, and then at random until `seconds` have passed."""
    report = Report(seed, mode)
    with (
        fault_environment(make_rng(seed, "environment"), mode=mode) as environment,
        running_consumer(environment, str(seed)) if mode == "buffered" else nullcontext(),
    ):
        with running_rollups(environment) as rollups, running_clients(environment, str(seed)) as clients:
            cause_faults(environment, clients, report, names=only or list(FAULTS), seconds=seconds)
            settle(environment, clients, rollups)
        wait_until(lambda: not environment.aws.count_messages(), "The consumer did not empty the queue")
        reconcile(environment, clients, report)
    report.rollups, report.failed_rollups = rollups.succeeded, rollups.failed
    return report


def plan_faults(seed: int, names: Sequence[str]) -> Iterator[str]:
    """The endless order of faults: each once, then any. The same seed makes the same order."""
    rng = make_rng(seed, "plan")
    yield from rng.sample(names, len(names))
    while True:
        yield rng.choice(names)


def cause_faults(
    environment: FaultEnvironment, clients: Sequence[Client], report: Report, *, names: Sequence[str], seconds: float
) -> None:
    """Cause one fault after another. After each one, wait until every client is served again."""
    until = time.monotonic() + seconds
    wait_for_service(clients, after="the start")
    for number, name in enumerate(plan_faults(report.seed, names)):
        if number >= len(names) and time.monotonic() >= until:
            break
        try:
            FAULTS[name](environment, make_rng(report.seed, f"{number} {name}"))
        except CannotStrikeError as error:
            report.left_out[name] = str(error)
            continue
        except TimeoutError as error:
            raise TimeoutError(f"{name}, fault {number + 1}: {error}") from error
        report.faults[name] += 1
        wait_for_service(clients, after=name)
        environment.wait_for_stored_batch()


def settle(environment: FaultEnvironment, clients: Sequence[Client], rollups: RollupCounts) -> None:
    """Repair everything, and let the clients send what their queues hold."""
    environment.link.repair()
    environment.ensure_server_runs()
    for client in clients:
        wait_until(
            partial(client.has_acknowledged, MIN_BATCHES),
            f"{client.name} did not get {MIN_BATCHES} batches acknowledged",
        )
        client.stop()
    for client in clients:
        wait_until(client.has_ended, f"{client.name} could not send its queue")
    before = rollups.succeeded
    wait_until(lambda: rollups.succeeded > before, "No roll-up succeeded after the repair")


def wait_for_service(clients: Sequence[Client], *, after: str) -> None:
    """Wait until each client has got two more batches acknowledged: the first may have been under way before."""
    for client, before in [(client, client.record.acknowledged_batches) for client in clients]:
        wait_until(
            partial(client.has_acknowledged, before + 2),
            f"{client.name} got no two batches acknowledged after {after}",
        )


def reconcile(environment: FaultEnvironment, clients: Sequence[Client], report: Report) -> None:
    """Complete the report: what was sent and answered, and every broken invariant."""
    records = [client.record for client in clients]
    first_statuses = {event_id: status for each in records for event_id, status in each.acknowledged.items()}
    lost, lines = environment.link.lost_answers, environment.log.lines()
    report.sent = sum(len(each.sent) for each in records)
    report.acknowledged = len(first_statuses)
    report.rejected = sum(each.invalid.total() for each in records)
    report.first_statuses = Counter(first_statuses.values())
    report.answers = sum((each.answers for each in records), Counter())
    report.lost_answers = Counter(each.path for each in lost)
    report.sqlstates = Counter(str(line["sqlstate"]) for line in environment.log.database_failures())
    with environment.connect() as connection:
        report.broken_invariants += find_broken_invariants(connection, records)
    duplicates = count_for_client(first_statuses) if report.mode == "direct" else count_in_log(lines)
    report.broken_invariants += find_unanswered_retries(lost, duplicates)
    for line in lines:
        if line.get("EventsUnaccounted"):
            report.broken_invariants.append(f"batch {line['batch_id']} has unaccounted events")
        if line.get("message") == "unexpected_error":
            report.broken_invariants.append(f"unexpected error: {line}")


def make_rng(seed: int, purpose: str) -> random.Random:
    """Random numbers for one purpose, so that the timing of threads changes no other purpose's numbers."""
    return random.Random(f"{seed} {purpose}")  # noqa: S311 - faults, not secrets
