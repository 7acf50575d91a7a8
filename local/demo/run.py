"""`make demo`: `make run` on a database of its own with demo data in it, and live events while it runs."""

import os
import signal
import sys
import threading
from collections.abc import Sequence

import httpx

from local.cli.run import Running, make_parser, run
from local.demo.fill import Api, DemoFailed, fill, send_live_events
from local.paths import STATE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return 1 if the server or the demo data fails."""
    options = make_parser("python -m local.demo.run", __doc__, STATE / "demo").parse_args(arguments)
    failures: list[Exception] = []

    def fill_in_background(running: Running) -> None:
        threading.Thread(target=_fill, args=(running, failures), name="demo", daemon=True).start()

    code = run(options, command="make demo", on_ready=fill_in_background)
    return code or int(bool(failures))


def _fill(running: Running, failures: list[Exception]) -> None:
    try:
        fill(running.url, running.keys)
        running.announce()
        with Api(running.url, running.keys["write"]) as write:
            send_live_events(write)
    except (httpx.NetworkError, httpx.RemoteProtocolError):
        return  # the server has stopped
    except (DemoFailed, httpx.HTTPError) as error:
        failures.append(error)
        print(f"The demo failed: {error}", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
