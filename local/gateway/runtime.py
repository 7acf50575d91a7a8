"""The program inside one execution environment: imports a handler and runs one invocation after another.

It imports nothing from this project, because its import path is that of the function. It reads events from standard
input and writes results to standard output. Each is one frame: four bytes with the length, then JSON. The output of the
function goes to standard error.
"""

import importlib
import json
import os
import queue
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

MAX_RESPONSE_BYTES = 6 * 1024 * 1024 + 100
LENGTH = struct.Struct("!I")


class Context:
    """The context that Lambda passes to a handler."""

    def __init__(self, request_id: str, deadline: float) -> None:
        self.aws_request_id = request_id
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.invoked_function_arn = (
            f"arn:aws:lambda:{os.environ['AWS_REGION']}:123456789012:function:{self.function_name}"
        )
        self.client_context = None
        self.identity = None
        self.tenant_id = None
        self._deadline = deadline

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the timeout."""
        return max(int((self._deadline - time.time()) * 1000), 0)


def main() -> None:
    """Serve invocations until the parent closes standard input or dies."""
    events = os.fdopen(os.dup(0), "rb")
    results = os.fdopen(os.dup(1), "wb")
    # The handler may read standard input and print. It must not touch our two descriptors.
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - pathlib would only add to the start-up time
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(events, inbox), daemon=True).start()
    try:
        handler = _import_handler(sys.argv[1])
    except Exception as error:  # the import may raise anything, and the parent needs to know
        traceback.print_exc()
        _send(results, {"initError": f"{type(error).__name__}: {error}"})
        return
    _send(results, {"ready": True})
    while True:
        _send(results, _invoke(handler, inbox.get()))


def _receive(events: BinaryIO, inbox: "queue.SimpleQueue[dict[str, Any]]") -> None:
    """Read on a separate thread, which notices the parent's death even while a handler runs."""
    while len(head := events.read(LENGTH.size)) == LENGTH.size:
        inbox.put(json.loads(events.read(LENGTH.unpack(head)[0])))
    os._exit(0)


def _import_handler(name: str) -> Callable[[Any, Context], Any]:
    module, _, attribute = name.rpartition(".")
    handler: Callable[[Any, Context], Any] = getattr(importlib.import_module(module), attribute)
    return handler


def _invoke(handler: Callable[[Any, Context], Any], invocation: dict[str, Any]) -> dict[str, Any]:
    context = Context(invocation["requestId"], invocation["deadline"])
    os.environ["_X_AMZN_TRACE_ID"] = invocation["traceId"]
    try:
        result = handler(invocation["event"], context)
        size = len(json.dumps(result))
    except Exception as error:  # an error ends only this invocation, as on Lambda
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}
    if size > MAX_RESPONSE_BYTES:
        return {"error": f"Function.ResponseSizeTooLarge: {size} bytes; the limit is {MAX_RESPONSE_BYTES}"}
    return {"result": result}


def _send(results: BinaryIO, message: dict[str, Any]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    frame = json.dumps(message).encode()
    results.write(LENGTH.pack(len(frame)) + frame)
    results.flush()


if __name__ == "__main__":
    main()
