"""The program inside one execution environment: imports a function's handler and runs one invocation after another.

It stands alone, since its import path is the function's. Frames are JSON after a length of four bytes: events come in
on the standard input, results go out on the standard output; what the function prints goes to the standard error.
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
    """What Lambda tells a handler about its invocation."""

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
        """Milliseconds until the environment is killed."""
        return max(int((self._deadline - time.time()) * 1000), 0)


def main() -> None:
    """Serve invocations until the parent closes the standard input, or is gone."""
    events = os.fdopen(os.dup(0), "rb")
    results = os.fdopen(os.dup(1), "wb")
    # The two descriptors are ours now: a handler that reads or prints must not reach them.
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - pathlib would only add to the start-up time
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(events, inbox), daemon=True).start()
    try:
        handler = _import_handler(sys.argv[1])
    except Exception as error:  # whatever the import raises, it is reported
        traceback.print_exc()
        _send(results, {"initError": f"{type(error).__name__}: {error}"})
        return
    _send(results, {"ready": True})
    while True:
        _send(results, _invoke(handler, inbox.get()))


def _receive(events: BinaryIO, inbox: "queue.SimpleQueue[dict[str, Any]]") -> None:
    """Read on a thread of its own: so the parent's end is noticed even while a handler works."""
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
    except Exception as error:  # a handler's failure is its invocation's alone, as in Lambda
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
