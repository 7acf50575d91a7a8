"""Faults of the functions: their processes die."""

import random
from contextlib import suppress

import psutil

from tests.faults.environment import FaultEnvironment
from tests.faults.link_faults import wait_for_lost_answers
from tests.faults.waiting import wait_until


def kill_function(environment: FaultEnvironment, rng: random.Random) -> None:
    """Kill one process of a function, or all of them, at any moment."""
    found: list[psutil.Process] = []

    def find() -> list[psutil.Process]:
        found[:] = environment.function_processes()
        return found

    wait_until(find, "No function was started")
    for process in found if rng.random() < 0.5 else [rng.choice(found)]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def kill_function_after_commit(environment: FaultEnvironment, _: random.Random) -> None:
    """Kill the function that awaits an answer after its commit, once for each path of ingest."""

    def kill_owner(port: int) -> bool:
        for process in environment.function_processes():
            with suppress(psutil.Error):
                if any(each.laddr.port == port for each in process.net_connections(kind="tcp")):
                    process.kill()
                    return True
        return False  # it died by itself

    environment.link.lose_answers(kill_owner)
    wait_for_lost_answers(environment)
