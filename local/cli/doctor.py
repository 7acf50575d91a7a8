"""`make doctor`: prints the diagnostics of a running Muster as a table."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from rich.text import Text

from local.state import NoTarget, find_target

TIMEOUT_SECONDS = 30.0
STYLES: Mapping[str, str] = {
    "pass": "green", "ok": "green", "warn": "yellow", "degraded": "yellow", "fail": "bold red", "failing": "bold red",
    "skip": "dim",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return 1 if a check fails, and 2 if the diagnostics are not available."""
    parser = argparse.ArgumentParser(prog="python -m local.cli.doctor", description=__doc__)
    parser.add_argument("--url", help="the URL of the API; default: that of make run")
    parser.add_argument("--key", help="a read or admin key; default: that of make run")
    parser.add_argument("--json", action="store_true", help="print the response as JSON")
    options = parser.parse_args(arguments)
    try:
        target = find_target(options.url, options.key, options.key)
        diagnostics = _fetch(target.url, target.read_key)
    except NoTarget as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(diagnostics, indent=2))
    else:
        _print(diagnostics, Console())
    return 1 if diagnostics["status"] == "failing" else 0


def _fetch(url: str, key: str) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {key}"}
    try:
        response = httpx.get(f"{url.rstrip('/')}/v1/diagnostics", headers=headers, timeout=TIMEOUT_SECONDS)
        diagnostics: dict[str, Any] = response.json()
    except (httpx.HTTPError, json.JSONDecodeError) as error:
        raise NoTarget(f"No Muster answers at {url} ({type(error).__name__}). Start one: make run") from error
    if "checks" not in diagnostics:
        raise NoTarget(str(diagnostics.get("error", {}).get("message") or f"{url} returned {response.status_code}."))
    return diagnostics


def _print(diagnostics: Mapping[str, Any], console: Console) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for check in diagnostics["checks"]:
        text = Text(check["summary"])
        if check["remedy"] and check["status"] in ("warn", "fail"):
            text.append(f"\n{check['remedy']}", style="cyan")
        table.add_row(Text(check["status"], style=STYLES[check["status"]]), check["name"], text)
    console.print(table)
    counts = ", ".join(f"{name} {count}" for name, count in diagnostics["counts"].items() if count)
    if counts:
        console.print(f"\nRows of this project: {counts}", style="dim", highlight=False)
    status = diagnostics["status"]
    console.print(Text.assemble("\nMuster is ", (status, STYLES[status]), f" (ingest is {diagnostics['mode']})."))


if __name__ == "__main__":
    sys.exit(main())
