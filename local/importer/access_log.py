"""Reads the access log of a web server: Combined or Common Log Format, plain or gzip."""

import gzip
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import BinaryIO, cast

MAX_LINE_BYTES = 64 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
# The names of strptime's %b depend on the locale of this machine, so we have our own.
_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), start=1
    )
}
_QUOTED = rb'"((?:[^"\\]|\\.)*)"'
_LINE = re.compile(
    rb"(?P<client>\S+) \S+ .+? "
    rb"\[(?P<day>\d{2})/(?P<month>[A-Z][a-z]{2})/(?P<year>\d{4}):(?P<hour>\d{2}):(?P<minute>\d{2}):(?P<second>\d{2}) "
    rb"(?P<sign>[+-])(?P<zone_hours>\d{2})(?P<zone_minutes>\d{2})\] "
    + _QUOTED.replace(b"(", b"(?P<request>", 1)
    + rb" (?P<status>\d{3}) (?P<size>\d{1,18}|-)"
    # Common Log Format ends here.
    + rb"(?: "
    + _QUOTED.replace(b"(", b"(?P<referrer>", 1)
    # Some servers cut off a long user agent, and the closing quote with it.
    + rb' "(?P<agent>(?:[^"\\]|\\.)*)(?P<agent_end>"|\\?$))?',
    re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"v": b"\v", b"f": b"\f"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_REQUEST = re.compile(r"(?P<method>[A-Za-z]{1,20}) (?P<target>\S+)(?: HTTP/[0-9.]+)?")


class MalformedLine(Exception):
    """The line is not in the format of an access log. The message says why."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One request, as the web server logged it."""

    client: str
    at: datetime
    """In UTC."""
    method: str | None
    target: str | None
    """The path or URL of the request. None if the connection sent no request."""
    status: int
    size: int | None
    referrer: str | None
    agent: str | None
    is_cut_off: bool
    """The line ends within the user agent."""


@contextmanager
def open_log(path: Path) -> Iterator[BinaryIO]:
    """Open a log. Decompress it if its first bytes are those of gzip, whatever its name."""
    with path.open("rb") as raw:
        packed = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        raw.seek(0)
        # GzipFile is a reader of binary lines, but no BinaryIO to the type checker.
        yield cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw


def read_lines(log: BinaryIO) -> Iterator[bytes]:
    """The lines without their line ends. A line over MAX_LINE_BYTES is cut after MAX_LINE_BYTES + 1 bytes.

    Raises:
        OSError: the gzip data is damaged or ends early.
    """
    try:
        while line := log.readline(MAX_LINE_BYTES + 2):
            is_whole = line.endswith(b"\n")
            if not is_whole:
                _skip_the_rest(log)
            yield line.removesuffix(b"\n").removesuffix(b"\r") if is_whole else line[: MAX_LINE_BYTES + 1]
    except (EOFError, zlib.error) as error:
        raise OSError(f"the gzip data is damaged or ends early ({error})") from error


def _skip_the_rest(log: BinaryIO) -> None:
    while (rest := log.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
        pass


def parse_line(line: bytes) -> LogRecord:
    """The request that a line describes.

    Raises:
        MalformedLine: the line describes no request.
    """
    if not line.strip():
        raise MalformedLine("it is empty")
    if len(line) > MAX_LINE_BYTES:
        raise MalformedLine(f"it is longer than {MAX_LINE_BYTES} bytes")
    if not (found := _LINE.fullmatch(line)):
        raise MalformedLine("it is not in Combined Log Format")
    method, target = _split_request(_text(found["request"]))
    return LogRecord(
        client=sys.intern(_text(found["client"])),
        at=_time(found),
        method=method,
        target=target,
        status=int(found["status"]),
        size=None if found["size"] == b"-" else int(found["size"]),
        referrer=_text_or_none(found["referrer"]),
        agent=_text_or_none(found["agent"]),
        is_cut_off=found["agent_end"] in (b"", b"\\"),
    )


def _time(found: re.Match[bytes]) -> datetime:
    offset = timedelta(hours=int(found["zone_hours"]), minutes=int(found["zone_minutes"]))
    try:
        return datetime(
            int(found["year"]),
            _MONTHS[found["month"]],
            int(found["day"]),
            int(found["hour"]),
            int(found["minute"]),
            int(found["second"]),
            tzinfo=timezone(-offset if found["sign"] == b"-" else offset),
        ).astimezone(UTC)
    except (KeyError, ValueError, OverflowError) as error:
        raise MalformedLine("its time does not exist") from error


def _split_request(request: str) -> tuple[str | None, str | None]:
    if request in ("", "-"):
        return None, None
    if found := _REQUEST.fullmatch(request):
        return sys.intern(found["method"].upper()), sys.intern(found["target"])
    # The client did not speak HTTP: it may have begun a TLS handshake. Keep what it sent.
    return None, sys.intern(request)


def _text_or_none(field: bytes | None) -> str | None:
    return None if field in (None, b"", b"-") else sys.intern(_text(field))


def _text(field: bytes) -> str:
    r"""The field without the server's escapes. Bytes that are not text stay visible, as \x16 or U+FFFD."""
    raw = _ESCAPE.sub(_unescape, field)
    return _CONTROL.sub(lambda control: f"\\x{ord(control[0]):02x}", raw.decode("utf-8", "replace"))


def _unescape(found: re.Match[bytes]) -> bytes:
    escape = found[1]
    return bytes.fromhex(escape[1:].decode()) if len(escape) > 1 else _ESCAPED.get(escape, escape)
