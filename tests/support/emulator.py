"""Runs a built function under the genuine runtime interface emulator, which ships inside the SAM CLI's package."""

import base64
import importlib.util
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from local.sam.template import Function

RUNTIME_MODULES = ("awslambdaric", "runtime_client", "simplejson", "snapshot_restore_py")
INVOCATIONS = "/2015-03-31/functions/function/invocations"
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 60.0


class Emulator:
    """One function below one emulator: `with Emulator(function, …) as emulator: emulator.invoke(event)`."""

    def __init__(self, function: Function, workspace: Path, *, environment: Mapping[str, str]) -> None:
        self._function = function
        self._log = workspace / f"{function.name}.log"
        self._runtime = _runtime_folder(workspace)
        self._environment = environment
        # The emulator panics when two requests reach it at once.
        self._one_at_a_time = threading.Lock()
        self._address = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Emulator":
        self._address, runtime_api = _free_addresses()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    str(_emulator_program()),
                    "--runtime-interface-emulator-address",
                    self._address,
                    "--runtime-api-address",
                    runtime_api,
                    sys.executable,
                    "-S",  # without this project's virtual environment: what the layer lacks must be missed
                    "-m",
                    "awslambdaric",
                    self._function.handler,
                ],
                cwd=self._function.source,
                env=self._variables(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait_until_it_listens()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            # Its session: the emulator does not always take the runtime with it.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(STOP_TIMEOUT_SECONDS)

    def invoke(self, event: Any) -> dict[str, Any]:
        """What the function returned, or the error object of its failure."""
        request = urllib.request.Request(
            f"http://{self._address}{INVOCATIONS}", data=json.dumps(event).encode(), method="POST"
        )
        timeout = self._function.timeout_seconds + START_TIMEOUT_SECONDS
        with self._one_at_a_time, urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310 - see above
            answer: dict[str, Any] = json.load(response)
        return answer

    def runtime_cpu_seconds(self) -> float:
        """The CPU time of the function's process since its start, without threads that have ended."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        (runtime,) = {int(pid) for file in children for pid in file.read_text("ascii").split()}
        stats = Path(f"/proc/{runtime}/task").glob("*/schedstat")
        return sum(int(file.read_text("ascii").split()[0]) for file in stats) / 1e9

    @property
    def log(self) -> str:
        """All that the emulator and the function printed."""
        return self._log.read_text("utf-8", errors="replace")

    def _variables(self) -> dict[str, str]:
        function = self._function
        layers = [folder / "python" for folder in function.python_path]
        search_path = [function.source, *layers, self._runtime]
        return {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "TZ": ":UTC",
            "PYTHONPATH": os.pathsep.join(str(folder.resolve()) for folder in search_path),
            "LAMBDA_TASK_ROOT": str(function.source),
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(int(function.timeout_seconds)),
            **function.environment,
            **self._environment,
        }

    def _wait_until_it_listens(self) -> None:
        host, port = self._address.split(":")
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        self.__exit__(None, None, None)
        raise RuntimeError(f"The emulator of {self._function.name} did not start:\n{self.log}")


def to_payload(response: Mapping[str, Any]) -> Any:
    """The JSON that a function answered with, in its HTTP response of payload format 2.0."""
    body = response["body"]
    return json.loads(base64.b64decode(body) if response.get("isBase64Encoded") else body)


def _emulator_program() -> Path:
    package = importlib.util.find_spec("samcli")
    assert package is not None
    assert package.origin is not None
    machine = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
    return Path(package.origin).parent / "local" / "rapid" / f"aws-lambda-rie-{machine}"


def _runtime_folder(workspace: Path) -> Path:
    """A folder with the runtime interface client and nothing else, as the runtime's own folder is on AWS."""
    folder = workspace / "runtime"
    folder.mkdir(exist_ok=True)
    for name in RUNTIME_MODULES:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        source = origin.parent if spec.submodule_search_locations else origin
        link = folder / source.name
        if not link.exists():
            link.symlink_to(source)
    return folder


def _free_addresses() -> tuple[str, str]:
    with socket.socket() as first, socket.socket() as second:
        for listener in (first, second):
            listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{first.getsockname()[1]}", f"127.0.0.1:{second.getsockname()[1]}"
