"""Runs MiniStack, an emulator of AWS, on a port of the loopback interface."""

import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

from local.paths import PROJECT
from local.ports import free_port

# MiniStack pins botocore, so it has a virtual environment of its own.
PYTHON = PROJECT / ".venv-ministack" / "bin" / "python"
START_SECONDS = 60.0
STOP_SECONDS = 20.0


class MiniStackError(Exception):
    """MiniStack cannot start. The message says what to do."""


class MiniStack:
    """One MiniStack: `with MiniStack() as aws: aws.url`."""

    def __init__(self) -> None:
        self.url = ""
        self._folder = tempfile.TemporaryDirectory(prefix="muster-ministack-")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "MiniStack":
        if not PYTHON.exists():
            raise MiniStackError("MiniStack is not installed. Install it: make .venv-ministack/.ready")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        folder = Path(self._folder.name)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "GATEWAY_PORT": str(port),
            "MINISTACK_HOST": "127.0.0.1",
            "STATE_DIR": str(folder / "state"),
            "IOT_MTLS_ENABLED": "0",
        }
        command = [str(PYTHON), "-m", "hypercorn", "ministack.app:app", "--bind", f"127.0.0.1:{port}"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            self._wait_until_it_answers()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._folder.cleanup()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point the tools of AWS at it. The credentials are fake."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAM_CLI_TELEMETRY": "0",
            # `sam deploy` asks this often whether it is done. The default of 5 seconds spares AWS's rate limit.
            "SAM_CLI_POLL_DELAY": "0.2",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    @property
    def log(self) -> str:
        """Its output."""
        return self._log.read_text("utf-8", errors="replace")

    @property
    def _log(self) -> Path:
        return Path(self._folder.name) / "log"

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while True:
            if self._process is None or self._process.poll() is not None:
                raise MiniStackError(f"MiniStack ended during its start.\n{self.log[-2000:]}")
            try:
                with opener.open(f"{self.url}/_localstack/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                if time.monotonic() > deadline:
                    raise MiniStackError(f"MiniStack does not answer.\n{self.log[-2000:]}") from None
            time.sleep(0.1)

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
        self._process = None
