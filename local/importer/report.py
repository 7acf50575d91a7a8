"""Reports the result of an import, as sentences or as JSON."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from local.importer.event_sender import FIRST_LINES, Tally


@dataclass
class LogSummary:
    """The contents of the log."""

    file: str
    lines: int = 0
    malformed: int = 0
    first_malformed: list[tuple[int, str]] = field(default_factory=list)
    cut_off: int = 0
    first_cut_off: list[int] = field(default_factory=list)
    sessions: int = 0


@dataclass
class ImportReport:
    """The result of one import."""

    log: LogSummary
    tally: Tally
    stopped: str | None = None
    metrics: dict[str, Any] | None = None
    metrics_problem: str | None = None

    @property
    def adds_up(self) -> bool:
        """Whether every line of the log has exactly one result."""
        return self.tally.adds_up and self.log.lines == self.log.malformed + self.tally.sent

    def as_json(self) -> dict[str, Any]:
        """The report for programs."""
        log, tally = self.log, self.tally
        return {
            "file": log.file,
            "lines": log.lines,
            "malformed": log.malformed,
            "malformedLines": [{"line": line, "reason": reason} for line, reason in log.first_malformed],
            "cutOff": log.cut_off,
            "cutOffLines": log.first_cut_off,
            "sessions": log.sessions,
            "sent": tally.sent,
            "batches": tally.batches,
            "accepted": tally.accepted,
            "queued": tally.queued,
            "duplicates": tally.duplicates,
            "ignored": tally.ignored.total(),
            "ignoredByReason": dict(tally.ignored),
            "rejected": tally.rejected.total(),
            "rejectedByReason": {
                reason: {"count": count, "lines": tally.rejected_lines[reason]}
                for reason, count in tally.rejected.items()
            },
            "addsUp": self.adds_up,
            "stopped": self.stopped,
            "metrics": self.metrics,
            "metricsProblem": self.metrics_problem,
        }

    def sentences(self) -> Iterator[str]:
        """The report for people, without the tables of metrics."""
        log, tally = self.log, self.tally
        yield f"{log.file}: {log.lines:,} lines = {tally.sent:,} sent + {log.malformed:,} malformed{self._unsent()}."
        yield (
            f"{tally.sent:,} sent = {tally.accepted:,} accepted + {tally.duplicates:,} duplicates + "
            f"{_by_reason('ignored', tally.ignored)} + {_by_reason('rejected', tally.rejected)}."
        )
        if tally.queued:
            yield f"{tally.queued:,} accepted events are queued. They appear in the metrics once they are stored."
        yield f"The log holds {log.sessions:,} sessions, sent in {tally.batches:,} batches."
        for line, reason in log.first_malformed:
            yield f"Line {line} was skipped: {reason}."
        if log.malformed > len(log.first_malformed):
            yield f"{log.malformed - len(log.first_malformed):,} more lines were skipped."
        if log.cut_off:
            lines = _lines(log.cut_off, log.first_cut_off)
            yield f"Cut off within the user agent and used as they are: {lines}."
        for reason, count in tally.rejected.items():
            lines = _lines(count, tally.rejected_lines[reason])
            yield f"Rejected as {reason}: {lines}; see /v1/diagnostics/rejections."
        if self.stopped:
            yield f"STOPPED. {self.stopped}"
            yield "The counts above are stored. Run the same import again to send the rest: nothing is stored twice."
        elif not self.adds_up:
            yield "THE COUNTS DO NOT ADD UP: some lines have no result, or two. Please report this bug."
        if self.metrics_problem:
            yield f"The metrics are not available: {self.metrics_problem}"

    def _unsent(self) -> str:
        unsent = self.log.lines - self.log.malformed - self.tally.sent
        return f" + {unsent:,} not sent" if unsent else ""

    def print_to(self, console: Console) -> None:
        """Print the sentences and the tables of metrics."""
        for sentence in self.sentences():
            console.print(sentence, highlight=False, markup=False, soft_wrap=True)
        if self.metrics is not None:
            console.print(_by_day(self.metrics), _by_type(self.metrics))


def _by_reason(word: str, reasons: Counter[str]) -> str:
    named = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
    return f"{reasons.total():,} {word}" + (f" ({named})" if named else "")


def _lines(count: int, first: Sequence[int]) -> str:
    more = ", …" if count > len(first) else ""
    return f"{count:,} {'line' if count == 1 else 'lines'} ({', '.join(map(str, first[:FIRST_LINES]))}{more})"


def _by_day(metrics: dict[str, Any]) -> Table:
    table = Table(title=f"By day, {metrics['range']['timezone']}", title_justify="left")
    table.add_column(metrics["range"]["granularity"])
    table.add_column("events", justify="right")
    table.add_column("sessions", justify="right")
    for bucket in metrics["series"]:
        if bucket["events"]:
            table.add_row(bucket["bucket"][:10], f"{bucket['events']:,}", f"{bucket['sessions']:,}")
    table.add_section()
    totals = metrics["totals"]
    table.add_row("all", f"{totals['events']:,}", f"{totals['sessions']:,}")
    return table


def _by_type(metrics: dict[str, Any]) -> Table:
    table = Table(title="By event type", title_justify="left")
    table.add_column("event type")
    table.add_column("events", justify="right")
    table.add_column("sessions", justify="right")
    for row in metrics["breakdown"]:
        table.add_row(str(row["value"]), f"{row['events']:,}", f"{row['sessions']:,}")
    return table
