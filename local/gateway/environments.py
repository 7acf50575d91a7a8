"""Execution environments, as Lambda has them: each is a process that runs one invocation at a time."""

import asyncio
import json
import os
import struct
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from local.gateway.logs import FunctionLogs
from local.sam.template import PSEUDO_PARAMETERS, Function

RUNTIME = Path(__file__).with_name("runtime.py")
INHERITED = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "SYSTEMROOT", "TMPDIR")
INIT_TIMEOUT_SECONDS = 30.0
QUEUE_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 3.0
LENGTH = struct.Struct("!I")


class FunctionError(Exception):
    """The function raised an error, its import failed, or its environment died."""


class FunctionTimeoutError(Exception):
    """The function exceeded its timeout, or every environment stayed busy."""


class Environment:
    """One process that has imported the function."""

    def __init__(self, function: Function, process: asyncio.subprocess.Process, logs: FunctionLogs) -> None:
        self._function = function
        self._process = process
        self._logs = logs
        self._pump = asyncio.create_task(self._forward_lines())

    @classmethod
    async def start(cls, function: Function, variables: Mapping[str, str], logs: FunctionLogs) -> "Environment":
        """Start a process and wait until it has imported the function.

        Raises:
            FunctionError: the import raised an error or took too long.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the folder of runtime.py must not shadow the function's modules
            str(RUNTIME),
            function.handler,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=function.source,
            env=_process_environment(function, variables),
            # Ctrl-C reaches only the server's process group. The server lets running invocations finish.
            process_group=0,
        )
        environment = cls(function, process, logs)
        try:
            async with asyncio.timeout(INIT_TIMEOUT_SECONDS):
                message = await environment._receive()
        except TimeoutError as error:
            await environment.kill()
            raise FunctionError(f"{function.name} was not imported in {INIT_TIMEOUT_SECONDS:.0f} s") from error
        except BaseException:
            await environment.kill()
            raise
        if "initError" in message:
            await environment.kill()
            raise FunctionError(message["initError"])
        return environment

    @property
    def alive(self) -> bool:
        """Whether the process runs and can take another invocation."""
        return self._process.returncode is None

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    async def invoke(self, event: Any, *, trace_id: str = "") -> Any:
        """Run one invocation and return the handler's result.

        Raises:
            FunctionError: the handler raised an error, or the process died.
            FunctionTimeoutError: the function exceeded its timeout; its process has been killed.
        """
        timeout = self._function.timeout_seconds
        request_id = str(uuid.uuid4())
        invocation = {"event": event, "requestId": request_id, "traceId": trace_id, "deadline": time.time() + timeout}
        try:
            async with asyncio.timeout(timeout):
                await self._send(invocation)
                message = await self._receive()
        except TimeoutError as error:
            await self.kill()
            self._log(f"{request_id} Task timed out after {timeout:.2f} seconds")
            raise FunctionTimeoutError(f"{self._function.name} took longer than {timeout:g} s") from error
        except BaseException:
            await self.kill()
            raise
        if "error" in message:
            raise FunctionError(message["error"])
        return message["result"]

    async def stop(self) -> None:
        """Stop an idle process. It exits when its standard input closes."""
        stdin = self._process.stdin
        if stdin is not None:
            stdin.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_SECONDS):
                await self._process.wait()
        except TimeoutError:
            pass  # kill() below ends it
        await self.kill()

    async def kill(self) -> None:
        """Kill the process. Wait for its end and for its last log lines."""
        if self.alive:
            with suppress(ProcessLookupError):  # the process has just ended
                self._process.kill()
        # A child of the function may keep the pipes open. asyncio says that the process ended only when they close.
        ended = asyncio.create_task(self._process.wait())
        await asyncio.wait({ended, self._pump}, timeout=STOP_TIMEOUT_SECONDS)
        ended.cancel()
        self._pump.cancel()

    async def _send(self, message: Mapping[str, Any]) -> None:
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - for the type checker: it was opened with PIPE
        frame = json.dumps(message).encode()
        try:
            stdin.write(LENGTH.pack(len(frame)) + frame)
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise await self._crashed() from error

    async def _receive(self) -> dict[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - for the type checker: it was opened with PIPE
        try:
            (length,) = LENGTH.unpack(await stdout.readexactly(LENGTH.size))
            message: dict[str, Any] = json.loads(await stdout.readexactly(length))
        except asyncio.IncompleteReadError as error:
            raise await self._crashed() from error
        return message

    async def _crashed(self) -> FunctionError:
        await self.kill()
        sentence = f"Runtime exited with exit status {self._process.returncode}"
        self._log(sentence)
        return FunctionError(sentence)

    async def _forward_lines(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None  # noqa: S101 - for the type checker: it was opened with PIPE
        rest = b""
        while chunk := await stderr.read(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._log(line.decode("utf-8", errors="replace"))
        if rest:
            self._log(rest.decode("utf-8", errors="replace"))

    def _log(self, line: str) -> None:
        self._logs.write(self._function.name, line)


class EnvironmentPool:
    """The environments of one function. The pool reuses an idle one, or starts another up to a limit."""

    def __init__(
        self,
        function: Function,
        variables: Mapping[str, str],
        logs: FunctionLogs,
        *,
        limit: int,
        wait_seconds: float = QUEUE_TIMEOUT_SECONDS,
    ) -> None:
        self._function = function
        self._variables = variables
        self._logs = logs
        self._wait_seconds = wait_seconds
        self._slots = asyncio.Semaphore(limit)
        self._idle: list[Environment] = []

    async def invoke(self, event: Any, *, trace_id: str = "") -> Any:
        """Run one invocation in an environment that runs no other. Wait for one if all are busy.

        Raises:
            FunctionError: the function raised an error, or its environment died.
            FunctionTimeoutError: the function exceeded its timeout, or every environment stayed busy.
        """
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._slots.acquire()
        except TimeoutError as error:
            raise FunctionTimeoutError(f"Every environment of {self._function.name} stayed busy") from error
        try:
            environment = await self._take()
            try:
                return await environment.invoke(event, trace_id=trace_id)
            finally:
                if environment.alive:
                    self._idle.append(environment)
        finally:
            self._slots.release()

    async def warm(self) -> None:
        """Start one environment before the first request arrives."""
        async with self._slots:
            if not self._idle:
                self._idle.append(await self._start())

    async def close(self) -> None:
        """Stop every environment. None may be busy."""
        while self._idle:
            await self._idle.pop().stop()

    async def _take(self) -> Environment:
        # The most recently used one comes first, so the others stay idle, as on Lambda.
        while self._idle:
            if (environment := self._idle.pop()).alive:
                return environment
            await environment.kill()  # it died while idle; its last log lines may still arrive
        return await self._start()

    async def _start(self) -> Environment:
        return await Environment.start(self._function, self._variables, self._logs)


def _process_environment(function: Function, variables: Mapping[str, str]) -> dict[str, str]:
    """The function's variables, as on AWS, and those of this process that every program needs."""
    path = [function.source, *function.python_path]
    return {
        **{name: os.environ[name] for name in INHERITED if name in os.environ},
        "TZ": "UTC",
        "PYTHONPATH": os.pathsep.join(str(folder.resolve()) for folder in path),
        "AWS_REGION": PSEUDO_PARAMETERS["AWS::Region"],
        "AWS_DEFAULT_REGION": PSEUDO_PARAMETERS["AWS::Region"],
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"local/[$LATEST]{uuid.uuid4().hex}",
        "LAMBDA_TASK_ROOT": str(function.source.resolve()),
        "_HANDLER": function.handler,
        **function.environment,
        **variables,
    }
