"""Reading a web server's access log."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest

from local.importer.access_log import MAX_LINE_BYTES, MalformedLine, open_log, parse_line, read_lines

LINE = (
    b'83.149.9.216 - - [17/May/2015:10:05:03 +0200] "GET /images/a.png?x=1 HTTP/1.1" 200 203023 '
    b'"http://semicomplete.com/" "Mozilla/5.0 (Macintosh)"'
)


def test_a_combined_line_is_read_whole() -> None:
    record = parse_line(LINE)
    assert (record.client, record.method, record.target) == ("83.149.9.216", "GET", "/images/a.png?x=1")
    assert record.at == datetime(2015, 5, 17, 8, 5, 3, tzinfo=UTC)
    assert (record.status, record.size) == (200, 203023)
    assert (record.referrer, record.agent) == ("http://semicomplete.com/", "Mozilla/5.0 (Macintosh)")


def test_a_common_line_has_no_referrer_and_no_agent() -> None:
    record = parse_line(b'::1 - bob [17/May/2015:10:05:03 +0000] "-" 408 -')
    assert (record.client, record.method, record.target, record.size) == ("::1", None, None, None)
    assert (record.referrer, record.agent) == (None, None)


@pytest.mark.parametrize(
    ("request_text", "method", "target"),
    [
        (rb"GET /caf\xc3\xa9 HTTP/1.1", "GET", "/café"),
        (rb"GET /\xff HTTP/1.1", "GET", "/\ufffd"),
        (rb"GET /a\"b HTTP/1.1", "GET", '/a"b'),
        (rb"\x16\x03\x01", None, r"\x16\x03\x01"),
        (b"get /x", "GET", "/x"),
        ("GET /caf\u00e9 HTTP/1.1".encode(), "GET", "/café"),
        (b"GET /\xff HTTP/1.1", "GET", "/\ufffd"),
    ],
)
def test_odd_bytes_and_escapes_become_text(request_text: bytes, method: str | None, target: str) -> None:
    record = parse_line(LINE.replace(b"GET /images/a.png?x=1 HTTP/1.1", request_text))
    assert (record.method, record.target) == (method, target)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "empty"),
        (b"hello", "not in Combined Log Format"),
        (LINE[:60], "not in Combined Log Format"),
        (LINE.replace(b"17/May", b"31/Feb"), "time does not exist"),
        (LINE.replace(b"17/May", b"17/Mai"), "time does not exist"),
        (LINE.replace(b"10:05:03", b"25:05:03"), "time does not exist"),
        (b"x" * (MAX_LINE_BYTES + 1), "longer than"),
    ],
)
def test_a_malformed_line_is_reported_with_its_reason(line: bytes, reason: str) -> None:
    with pytest.raises(MalformedLine, match=reason):
        parse_line(line)


def test_a_line_cut_off_in_its_agent_is_read_as_far_as_it_goes() -> None:
    record = parse_line(LINE[:-5])
    assert (record.is_cut_off, record.agent) == (True, "Mozilla/5.0 (Macint")


def test_compressed_logs_are_recognized_by_their_bytes(tmp_path: Path) -> None:
    content = LINE + b"\r\n" + b"y" * (3 * MAX_LINE_BYTES) + b"\n" + LINE
    for name, stored in (("plain.gz", content), ("packed.log", gzip.compress(content))):
        (tmp_path / name).write_bytes(stored)
        with open_log(tmp_path / name) as log:
            lines = list(read_lines(log))
        assert [len(line) for line in lines] == [len(LINE), MAX_LINE_BYTES + 1, len(LINE)]


def test_damaged_gzip_is_an_error_and_not_a_short_log(tmp_path: Path) -> None:
    (tmp_path / "log.gz").write_bytes(gzip.compress(LINE * 1000)[:-20])
    with open_log(tmp_path / "log.gz") as log, pytest.raises(OSError, match="ends early"):
        list(read_lines(log))
