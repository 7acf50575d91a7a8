"""The local API: an HTTP server in place of API Gateway and Lambda.

`PYTHONPATH=layers/shared python -m local.gateway.server --env DATABASE_URL=postgresql://…` serves template.yaml.
"""

import argparse
import asyncio
import errno
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import uvicorn

from local.gateway.application import ENVIRONMENTS_PER_FUNCTION, Gateway
from local.gateway.environments import QUEUE_TIMEOUT_SECONDS
from local.gateway.logs import FunctionLogs, console_logs
from local.paths import TEMPLATE
from local.sam.template import load_template

START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 35
"""For requests in flight."""
CLOSE_TIMEOUT_SECONDS = 30
"""For the environments, after the requests."""


class PortError(Exception):
    """The server cannot use its port. The message says why."""


class _Server(uvicorn.Server):
    """A uvicorn server that calls `on_ready` once it listens."""

    def __init__(self, gateway: Gateway, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                gateway,
                http="h11",
                ws="none",
                lifespan="on",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=STOP_TIMEOUT_SECONDS,
            )
        )
        self._on_ready = on_ready
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def describe(self) -> str:
        """What still runs, for an error message."""
        tasks = [str(task.get_coro()) for task in asyncio.all_tasks(self._loop)] if self._loop else []
        return f"{len(self.server_state.connections)} connections are open; tasks: {', '.join(tasks) or 'none'}"


def listen(host: str, port: int) -> socket.socket:
    """A socket that reserves the port. Port 0 means a free one.

    Raises:
        PortError: the port is not available.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns off Nagle's algorithm only if the socket names TCP. Nagle's algorithm delays each response by 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OverflowError as error:
        listener.close()
        raise PortError(f"There is no port {port}: the highest is 65535.") from error
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortError(f"Another program uses port {port}.") from error
        raise PortError(f"Port {port} of {host} is not available: {error.strerror}.") from error
    return listener


def serve(
    listener: socket.socket,
    template: Path = TEMPLATE,
    *,
    environment: Mapping[str, str] | None = None,
    parameters: Mapping[str, str] | None = None,
    environments_per_function: int = ENVIRONMENTS_PER_FUNCTION,
    wait_seconds: float = QUEUE_TIMEOUT_SECONDS,
    logs: FunctionLogs | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve on the socket of `listen` until SIGINT or SIGTERM. Then finish the requests in flight and return.

    `environment` adds variables to every function. `parameters` are those of the template. If all environments of a
    function are busy, a request waits up to `wait_seconds` and then gets a 503.
    """
    url = _url(listener)
    gateway = Gateway(
        load_template(template, parameters=parameters),
        environment=environment or {},
        logs=logs or console_logs(),
        environments_per_function=environments_per_function,
        wait_seconds=wait_seconds,
    )
    with _signals_only_stop_the_server():
        _Server(gateway, lambda: on_ready(url) if on_ready else None).run(sockets=[listener])


class LocalApi:
    """The same server on a thread of this process, for tests: `with local_api(...) as api: api.url`."""

    def __init__(self, gateway: Gateway, listener: socket.socket) -> None:
        self.url = _url(listener)
        self._server = _Server(gateway, lambda: None)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="local-api", daemon=True)

    def __enter__(self) -> "LocalApi":
        self._thread.start()
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("The local server did not start. Its log says why.")
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(STOP_TIMEOUT_SECONDS + CLOSE_TIMEOUT_SECONDS)
        if self._thread.is_alive():
            raise RuntimeError(f"The local server did not stop: {self._server.describe()}.")


def local_api(
    template: Path = TEMPLATE,
    *,
    port: int = 0,
    environment: Mapping[str, str] | None = None,
    parameters: Mapping[str, str] | None = None,
    environments_per_function: int = ENVIRONMENTS_PER_FUNCTION,
    wait_seconds: float = QUEUE_TIMEOUT_SECONDS,
    logs: FunctionLogs | None = None,
    prestart: bool = False,
) -> LocalApi:
    """A local API on a free port, as a context manager.

    If all environments of a function are busy, a request waits up to `wait_seconds` and then gets a 503.
    """
    gateway = Gateway(
        load_template(template, parameters=parameters),
        environment=environment or {},
        logs=logs or console_logs(),
        environments_per_function=environments_per_function,
        wait_seconds=wait_seconds,
        prestart=prestart,
    )
    return LocalApi(gateway, listen("127.0.0.1", port))


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _signals_only_stop_the_server() -> Iterator[None]:
    """uvicorn raises the signal that stopped it again. Ignore it, because the caller still has to clean up."""
    previous = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return name, value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.gateway.server", description=__doc__)
    parser.add_argument("--template", type=Path, default=TEMPLATE, help="the SAM template to serve")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=3000, help="the port to listen on; 0 means a free one")
    parser.add_argument(
        "--env", type=_pair, action="append", default=[], metavar="KEY=VALUE", help="a variable for every function"
    )
    parser.add_argument(
        "--parameter", type=_pair, action="append", default=[], metavar="KEY=VALUE", help="a parameter of the template"
    )
    parser.add_argument(
        "--environments", type=int, default=ENVIRONMENTS_PER_FUNCTION, help="the maximum of environments per function"
    )
    parser.add_argument(
        "--wait-seconds",
        type=float,
        default=QUEUE_TIMEOUT_SECONDS,
        help="how long a request waits for an environment before it gets a 503",
    )
    parser.add_argument(
        "--log-dir", type=Path, help="a folder for one log file per function; default: log to the console"
    )
    options = parser.parse_args(arguments)
    try:
        serve(
            listen(options.host, options.port),
            options.template,
            environment=dict(options.env),
            parameters=dict(options.parameter),
            environments_per_function=options.environments,
            wait_seconds=options.wait_seconds,
            logs=FunctionLogs(directory=options.log_dir) if options.log_dir else None,
            on_ready=lambda url: print(f"Serving {options.template.name} on {url}", flush=True),
        )
    except PortError as error:
        print(f"{error} Choose another one with --port.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
