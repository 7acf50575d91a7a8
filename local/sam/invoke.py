"""`make invoke`: sends one event of events/ to its function with `sam local invoke`, on a new database."""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from local.postgres import PostgresError
from local.sam.containers import HOSTS, host_of, new_project, parameters_for_containers
from local.sam.layers import with_layer_versions
from local.sam.sam_cli import build_for_this_machine, run_sam
from local.sam.shipped_events import FOLDER, function_of
from muster.platform.errors import MusterError


def invoke(
    event: Path, build: Path, database_url: str, keys: Mapping[str, str], *, host: str, environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run `sam local invoke` with an event. The keys replace its placeholders."""
    text = event.read_text("utf-8")
    for kind, key in keys.items():
        text = text.replace(f"{kind.upper()}-KEY", key)
    with (
        parameters_for_containers(database_url, host) as parameters,
        tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file,
    ):
        file.write(text)
        file.flush()
        return run_sam(
            "local", "invoke", function_of(event.stem), "--event", file.name, *with_layer_versions(build),
            "--skip-pull-image", "--parameter-overrides", *parameters,
            environment=environment, folder=build,
        )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.sam.invoke", description=__doc__)
    parser.add_argument(
        "event", type=Path, help=f"a file of {FOLDER.name}/; its name begins with the name of its function"
    )
    parser.add_argument("--engine", choices=sorted(HOSTS), default="docker", help="the container engine")
    options = parser.parse_args(arguments)
    if not options.event.is_file():
        print(f"There is no file {options.event}. `ls {FOLDER.name}/` lists the events.", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="muster-invoke-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            with new_project(folder) as (database_url, keys):
                build = build_for_this_machine(folder / "sam")
                finished = invoke(
                    options.event, build, database_url, keys, host=host_of(options.engine), environment={}
                )
    except (PostgresError, MusterError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    print(finished.stdout, end="")
    return finished.returncode


if __name__ == "__main__":
    sys.exit(main())
