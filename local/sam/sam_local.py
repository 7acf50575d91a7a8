"""`make sam-local`: runs the functions in containers with `sam local start-api`, on an embedded Postgres."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from local.ports import free_port
from local.postgres import PostgresError
from local.sam.containers import HOSTS, host_of, new_project, parameters_for_containers
from local.sam.layers import with_layer_versions
from local.sam.sam_cli import build_for_this_machine
from muster.platform.errors import MusterError

START_SECONDS = 120.0
STOP_SECONDS = 60.0


class SamLocalError(Exception):
    """`sam local` did not start. The message holds its output."""


@contextmanager
def sam_local(
    build: Path, database_url: str, *, host: str, port: int, environment: Mapping[str, str], log: Path
) -> Iterator[str]:
    """Run `sam local start-api` on a build and yield its URL. Containers reach the database through `host`."""
    with parameters_for_containers(database_url, host) as parameters, log.open("wb") as output:
        command = [
            sys.executable, "-m", "samcli", "local", "start-api", *with_layer_versions(build),
            "--skip-pull-image", "--warm-containers", "LAZY", "--port", str(port), "--parameter-overrides", *parameters,
        ]  # fmt: skip
        settings = {"SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1"}
        process = subprocess.Popen(
            command, cwd=build, env={**os.environ, **settings, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _wait_until_it_answers(f"http://127.0.0.1:{port}", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_SECONDS)


def _wait_until_it_answers(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            raise SamLocalError(f"sam local did not start.\n{log.read_text('utf-8', errors='replace')[-3000:]}")
        try:
            opener.open(f"{url}/is-it-up", timeout=5).close()
        except urllib.error.HTTPError:
            return  # it answers, even if only with a 404
        except OSError:
            time.sleep(0.2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.sam.sam_local", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="the port on this machine; default: a free one")
    parser.add_argument("--engine", choices=sorted(HOSTS), default="docker", help="the container engine")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="muster-sam-local-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            with new_project(folder) as (database_url, keys):
                print("Building: sam build.", flush=True)
                build = build_for_this_machine(folder / "sam")
                host, port, log = host_of(options.engine), options.port or free_port(), folder / "sam-local.log"
                with sam_local(build, database_url, host=host, port=port, environment={}, log=log) as url:
                    listed = "\n".join(f"  {kind} key  {key}" for kind, key in keys.items())
                    print(f"\nsam local serves on {url}\n{listed}\n\nPress Ctrl-C to stop.", flush=True)
                    _follow(log)
    except KeyboardInterrupt:
        return 0
    except (SamLocalError, PostgresError, MusterError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _follow(log: Path) -> None:
    with log.open("r", encoding="utf-8", errors="replace") as lines:
        while True:
            print(lines.read(), end="", flush=True)
            time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
