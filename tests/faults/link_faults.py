"""Faults of the network between functions and the database, and answers that it loses after the commit."""

import random

from tests.faults.environment import FaultEnvironment
from tests.faults.link import BrokenResponse
from tests.faults.waiting import wait_until


def slow_link(environment: FaultEnvironment, rng: random.Random) -> None:
    """Delay every packet, until a batch was stored in spite of it."""
    start, delay_seconds = environment.log.length, rng.uniform(0.05, 0.2)
    round_trip_ms = 2 * delay_seconds * 1000
    environment.link.delay_seconds = delay_seconds
    wait_until(
        lambda: any(line["DbWriteMs"] >= round_trip_ms for line in environment.log.stored_batches(start)),
        "No function stored a batch over the slow link",
    )
    environment.link.delay_seconds = 0.0


def cut_link(environment: FaultEnvironment, _: random.Random) -> None:
    """Abort all connections."""
    wait_until(lambda: environment.link.connections, "No function opened a connection")
    environment.link.cut_all()


def cut_reply(environment: FaultEnvironment, _: random.Random) -> None:
    """Abort a connection in the middle of a response."""
    _break_response(environment, "cut_reply")


def half_close(environment: FaultEnvironment, _: random.Random) -> None:
    """Close the server's side of a connection and leave the function's side open."""
    _break_response(environment, "half_close")


def lose_answer(environment: FaultEnvironment, _: random.Random) -> None:
    """Lose an answer of each path of ingest after its commit. The function stays alive."""
    environment.link.lose_answers()
    wait_for_lost_answers(environment)


def wait_for_lost_answers(environment: FaultEnvironment) -> None:
    """Wait until each path of ingest has lost an answer."""
    link = environment.link
    wait_until(lambda: not link.paths_to_lose, "Not every path of ingest (direct or queue consumer) lost an answer")


def _break_response(environment: FaultEnvironment, how: BrokenResponse) -> None:
    environment.link.broken_response = how
    wait_until(lambda: environment.link.broken_response is None, "No response of the database passed the link")
