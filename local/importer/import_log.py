"""`make import FILE=…`: sends an access log through POST /v1/events."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from local.importer.access_log import LogRecord, MalformedLine, open_log, parse_line, read_lines
from local.importer.event_sender import FIRST_LINES, EventSender, ImportStopped, describe, open_client
from local.importer.report import ImportReport, LogSummary
from local.importer.sessionize import make_events
from local.state import NoTarget, Target, find_target

# Lines may be out of order, so the whole log is sorted in memory: about 1 KB per line.
MAX_LINES = 2_000_000
_MAX_DAYS_BY_DAY = 366
_SECONDS_BETWEEN_PROGRESS_LINES = 5.0


def import_log(
    path: Path, target: Target, *, progress: Console | None = None, sleep: Callable[[float], None] = time.sleep
) -> ImportReport:
    """Send every line of the log. Then read the metrics of its days.

    Raises:
        OSError: the file cannot be read. Nothing was sent.
        ImportStopped: the file is too large. Nothing was sent.
    """
    log, records = read_log(path)
    events = list(make_events(records))
    del records
    log.sessions = len({event.session_id for event in events})
    sender = EventSender(target.url, target.key, sleep=sleep, notify=_notifier(progress))
    report = ImportReport(log, sender.tally)
    try:
        with _shown(progress, total=len(events)) as advance:
            for count in sender.send(events):
                advance(count)
    except ImportStopped as error:
        report.stopped = str(error)
    except KeyboardInterrupt:
        report.stopped = "It was interrupted."
    finally:
        sender.close()
    if not report.stopped:
        _add_metrics(report, target)
    return report


def read_log(path: Path) -> tuple[LogSummary, list[tuple[int, LogRecord]]]:
    """Read a log: a summary, and its requests with their line numbers."""
    log = LogSummary(file=path.name)
    records: list[tuple[int, LogRecord]] = []
    with open_log(path) as file:
        for line in read_lines(file):
            log.lines += 1
            if log.lines > MAX_LINES:
                raise ImportStopped(
                    f"{path.name} has more than {MAX_LINES:,} lines, which is too many to sort in memory. "
                    "Split it by day and import the parts."
                )
            try:
                record = parse_line(line)
            except MalformedLine as reason:
                log.malformed += 1
                if log.malformed <= FIRST_LINES:
                    log.first_malformed.append((log.lines, str(reason)))
                continue
            if record.is_cut_off:
                log.cut_off += 1
                if log.cut_off <= FIRST_LINES:
                    log.first_cut_off.append(log.lines)
            records.append((log.lines, record))
    return log, records


def _add_metrics(report: ImportReport, target: Target) -> None:
    first, last = report.tally.first_day, report.tally.last_day
    if first is None or last is None:  # nothing was sent, or every event was rejected
        return
    query = {
        "start": first.isoformat(),
        "end": (last + timedelta(days=1)).isoformat(),
        "timezone": "UTC",
        "granularity": "day" if (last - first).days <= _MAX_DAYS_BY_DAY else "month",
        "breakdown": "eventType",
    }
    try:
        with open_client(target.url, target.read_key) as client:
            response = client.get("/v1/metrics", params=query)
            if not response.is_success:
                report.metrics_problem = describe(response)
                return
            report.metrics = response.json()
    except httpx.RequestError as error:
        report.metrics_problem = f"the connection failed ({error or type(error).__name__})."
    except ValueError:
        report.metrics_problem = "the response is not JSON."


def _notifier(console: Console | None) -> Callable[[str], None] | None:
    # The server's messages are plain text, even if they contain brackets.
    return partial(console.print, markup=False, highlight=False) if console else None


@contextmanager
def _shown(console: Console | None, *, total: int) -> Iterator[Callable[[int], None]]:
    """Show the progress: a bar on a terminal, or else a line every few seconds."""
    if console is None:
        yield lambda count: None  # noqa: ARG005 - the caller counts even without a console
    elif console.is_terminal:
        columns = (TextColumn("Importing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("events", total=total)
            yield lambda count: bar.advance(task, count)
    else:
        yield _ProgressLines(console, total)


class _ProgressLines:
    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total, self._done = console, total, 0
        self._last = time.monotonic()

    def __call__(self, count: int) -> None:
        self._done += count
        if time.monotonic() - self._last >= _SECONDS_BETWEEN_PROGRESS_LINES:
            self._last = time.monotonic()
            self._console.print(f"{self._done:,} of {self._total:,} events sent", highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.importer.import_log", description=__doc__)
    parser.add_argument("file", type=Path, help="an access log in Combined or Common Log Format, plain or gzip")
    parser.add_argument("--url", help="the URL of the API; default: that of make run")
    parser.add_argument("--key", help="an admin key; default: that of make run")
    parser.add_argument(
        "--read-key", help="a key for the metrics; default: the admin key given, or else the read key of make run"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    try:
        target = find_target(options.url or None, options.key or None, options.read_key or None)
        report = import_log(options.file, target, progress=Console(stderr=True))
    except (NoTarget, ImportStopped) as error:
        print(f"Nothing was sent. {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Nothing was sent. {options.file} cannot be read: {error.strerror or error}.", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(report.as_json()))
    else:
        report.print_to(Console())
    return 0 if report.adds_up and not report.stopped else 1


if __name__ == "__main__":
    sys.exit(main())
