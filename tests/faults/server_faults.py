"""Faults of the database server and of its disk."""

import os
import random
import signal
from collections.abc import Sequence
from contextlib import suppress

from tests.faults.database_faults import wait_for_backends
from tests.faults.environment import FaultEnvironment
from tests.faults.waiting import wait_until


class CannotStrikeError(Exception):
    """This machine does not allow the fault. The text says why."""


def kill_server(environment: FaultEnvironment, _: random.Random) -> None:
    """Kill -9 all processes of the server, perhaps during a commit. It recovers from its disk."""
    environment.server.kill()
    environment.wait_for_database_error()
    environment.server.start()


def kill_one_backend(environment: FaultEnvironment, rng: random.Random) -> None:
    """Kill -9 one backend. The server ends all others and recovers by itself."""
    backends: Sequence[int] = wait_for_backends(environment)
    with suppress(ProcessLookupError):
        os.kill(rng.choice(backends), signal.SIGKILL)
    wait_until(environment.server_answers, "The server did not recover from the end of one backend")


def immediate_shutdown(environment: FaultEnvironment, _: random.Random) -> None:
    """Stop the server without a checkpoint, as a failing host does."""
    environment.server.stop(immediate=True)
    environment.wait_for_database_error()
    environment.server.start()


def fill_disk(environment: FaultEnvironment, _: random.Random) -> None:
    """ENOSPC for tables and for the write-ahead log, until a function meets it."""
    if environment.disk is None:
        raise CannotStrikeError("this process may not mount a small disk")
    ballast = environment.disk / "ballast"
    try:
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 65536)
        environment.wait_for_database_error()
    finally:
        ballast.unlink()
    environment.ensure_server_runs()
