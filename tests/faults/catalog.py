"""All faults by name. Each occurs, lasts until a request or a message has met it, and is repaired."""

import random
from collections.abc import Callable

from tests.faults import database_faults, function_faults, link_faults, server_faults
from tests.faults.environment import FaultEnvironment

Fault = Callable[[FaultEnvironment, random.Random], None]

FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        server_faults.kill_server,
        server_faults.kill_one_backend,
        server_faults.immediate_shutdown,
        server_faults.fill_disk,
        database_faults.terminate_backends,
        database_faults.read_only,
        database_faults.take_all_connections,
        database_faults.lock_sessions,
        database_faults.time_out_statements,
        database_faults.fail_commits,
        database_faults.deadlock,
        database_faults.rotate_credentials,
        database_faults.migrate_twice,
        link_faults.slow_link,
        link_faults.cut_link,
        link_faults.cut_reply,
        link_faults.half_close,
        link_faults.lose_answer,
        function_faults.kill_function,
        function_faults.kill_function_after_commit,
    )
}
LOSE_ANSWERS = ("lose_answer", "kill_function_after_commit")
"""The faults that lose an answer of each path of ingest."""
