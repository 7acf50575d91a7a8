"""`make deploy-local`: the stack as `sam deploy` makes it, on this machine, until Ctrl-C."""

import argparse
import json
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from local.deployment import Deployment, DeploymentError
from local.ministack import MiniStack, MiniStackError
from local.postgres import PostgresError, start_postgres
from local.sam import HOST_ARCHITECTURE, build_for_this_machine


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m local.deploy", description="Deploy to MiniStack on this machine.")
    parser.add_argument("--ingest-mode", choices=["direct", "buffered"], default="direct")
    parser.add_argument("--json", action="store_true", help="print url and keys as one JSON object")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="muster-deploy-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            _say("Starting Postgres and MiniStack.")
            with start_postgres(folder / "postgres", durable=False) as postgres, MiniStack() as aws:
                _say("Building: sam build.")
                stack = Deployment(aws, build_for_this_machine(folder / "sam"))
                for change in stack.changes:
                    _say(f"  {change}")
                _say("Deploying: sam deploy.")
                stack.deploy(
                    {
                        "Architecture": HOST_ARCHITECTURE,
                        "DatabaseMode": "external",
                        "DatabaseUrl": postgres.url,
                        "IngestMode": options.ingest_mode,
                        "Stage": "local",
                    }
                )
                made = stack.invoke("MigrateFunction", {"action": "create_project", "name": "local"})
                if options.json:
                    print(json.dumps({"url": stack.url, "databaseUrl": postgres.url, "keys": made["keys"]}), flush=True)
                else:
                    keys = "\n".join(f"  {kind} key  {key}" for kind, key in made["keys"].items())
                    print(f"\nThe stack serves on {stack.url}\n{keys}\n\nCtrl-C ends it.", flush=True)
                _wait_for_a_signal()
    except (DeploymentError, MiniStackError, PostgresError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _wait_for_a_signal() -> None:
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    asked.wait()


if __name__ == "__main__":
    sys.exit(main())
