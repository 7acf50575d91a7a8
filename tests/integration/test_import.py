"""Import of an access log through the API: every line is accounted for, and an independent count agrees."""

import gzip
import json
import re
import socket
import subprocess
import sys
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from crawlerdetect import CrawlerDetect

from local.gateway.server import local_api
from local.importer.import_log import import_log, main
from local.state import Target
from tests.conftest import LocalDatabase
from tests.support.access_log import LOG, needs_the_log
from tests.support.databases import Cluster, make_project
from tests.support.http import http

ROOT = Path(__file__).resolve().parents[2]
LINE = '{client} - - [17/May/2015:10:05:{second:02d} +0000] "GET /{path} HTTP/1.1" 200 5 "-" "Firefox/1"\n'


@pytest.fixture(scope="module")
def api(postgres: Cluster) -> Iterator[LocalDatabase]:
    """An API on a database of this module: its URL and keys."""
    with postgres.database() as database_url:
        keys = make_project(database_url).keys
        environment = {"DATABASE_URL": database_url}
        with local_api(environment=environment, parameters={"Stage": "test"}) as server:
            yield LocalDatabase(server.url, keys)


def target(api: LocalDatabase) -> Target:
    return Target(api.url, api.keys["admin"], api.keys["read"])


def independent_count() -> dict[str, Any]:
    """Count the log's days, types and sessions without bots, using none of the importer's code."""
    is_crawler = cache(CrawlerDetect().is_crawler)
    lines = gzip.decompress(LOG.read_bytes()).decode("utf-8", "replace").splitlines()
    days: Counter[str] = Counter()
    types: Counter[str] = Counter()
    ignored = 0
    visits: dict[str, list[tuple[datetime, bool]]] = defaultdict(list)
    for line in lines:
        before, request, after, *rest = line.split('"')
        when = datetime.strptime(before.split("[")[1].split("]")[0], "%d/%b/%Y:%H:%M:%S %z")
        agent = rest[2] if len(rest) > 2 else ""
        is_bot = agent not in ("", "-") and bool(is_crawler(agent))
        visits[before.split()[0]].append((when, is_bot))
        if is_bot:
            ignored += 1
            continue
        days[f"{when:%Y-%m-%d}"] += 1
        name = request.split()[1].split("?")[0].rsplit("/", 1)[-1]
        asset = re.search(r"\.(css|js|png|jpe?g|gif|ico|svg|woff2?|ttf|otf|eot|bmp|tiff?|webp|map|cur)$", name, re.I)
        types["error_view" if int(after.split()[0]) >= 400 else "asset_view" if asset else "page_view"] += 1
    sessions = 0
    for entries in visits.values():
        last, counted = None, False
        for when, is_bot in sorted(entries):
            if last is None or when - last > timedelta(minutes=30):
                counted = False
            last = when
            sessions += not is_bot and not counted
            counted = counted or not is_bot
    return {"lines": len(lines), "days": dict(days), "types": dict(types), "ignored": ignored, "sessions": sessions}


@needs_the_log
def test_the_real_log_is_stored_once_and_counted_correctly(api: LocalDatabase) -> None:
    expected = independent_count()
    first, second = import_log(LOG, target(api)), import_log(LOG, target(api))
    assert first.adds_up
    assert second.adds_up
    assert (first.log.lines, first.log.malformed) == (expected["lines"], 0) == (10_000, 0)
    assert dict(first.tally.ignored) == {"bot": expected["ignored"]}
    assert (first.tally.duplicates, first.tally.rejected.total()) == (0, 0)
    assert first.tally.accepted == 10_000 - expected["ignored"]
    assert (second.tally.accepted, second.tally.duplicates) == (0, first.tally.accepted)
    query = {"start": "2015-05-17", "end": "2015-05-21", "granularity": "day", "breakdown": "eventType"}
    headers = {"authorization": f"Bearer {api.keys['read']}"}
    metrics = http.get(f"{api.url}/v1/metrics", params=query, headers=headers).json()
    assert {bucket["bucket"][:10]: bucket["events"] for bucket in metrics["series"]} == expected["days"]
    assert {value["value"]: value["events"] for value in metrics["breakdown"]} == expected["types"]
    assert (metrics["totals"]["events"], metrics["totals"]["sessions"]) == (first.tally.accepted, expected["sessions"])
    assert metrics["explain"]["ignoredInRange"] > 0
    assert metrics["explain"]["rowsOutsideRange"] == 0


def test_malformed_lines_are_reported_and_the_others_sent(api: LocalDatabase, tmp_path: Path) -> None:
    client = f"client-{uuid.uuid4()}"
    log = tmp_path / "access.log"
    log.write_text(
        LINE.format(client=client, second=1, path="a") + "nonsense\n\n" + LINE.format(client=client, second=2, path="b")
    )
    command = [
        sys.executable,
        "-m",
        "local.importer.import_log",
        str(log),
        "--url",
        api.url,
        "--key",
        api.keys["admin"],
        "--json",
    ]
    run = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": "layers/shared"}, capture_output=True, text=True, check=True
    )
    report = json.loads(run.stdout)
    assert (report["lines"], report["malformed"], report["sent"], report["accepted"]) == (4, 2, 2, 2)
    assert [each["line"] for each in report["malformedLines"]] == [2, 3]
    assert report["addsUp"] is True


def test_a_line_with_an_impossible_date_is_rejected_alone(
    api: LocalDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "access.log"
    line = LINE.format(client=f"client-{uuid.uuid4()}", second=1, path="a")
    log.write_text(line + line.replace("17/May/2015", "31/Dec/9999") + line.replace("17/May/2015", "02/Jan/1970"))
    keys = ["--key", api.keys["admin"], "--read-key", api.keys["read"]]
    assert main([str(log), "--url", api.url, *keys]) == 0
    printed = capsys.readouterr().out
    assert "access.log: 3 lines = 3 sent + 0 malformed." in printed
    assert "3 sent = 2 accepted + 0 duplicates + 0 ignored + 1 rejected (timestamp_out_of_range 1)." in printed
    assert "Rejected as timestamp_out_of_range: 1 line (2);" in printed
    assert "page_view" in printed


def test_identical_requests_in_one_second_are_each_stored_once(api: LocalDatabase, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(LINE.format(client=f"client-{uuid.uuid4()}", second=1, path="a") * 3)
    assert import_log(log, target(api)).tally.accepted == 3
    assert import_log(log, target(api)).tally.duplicates == 3


@pytest.mark.parametrize(
    ("key", "said"), [("mw_unknown", "401 invalid_key"), ("read", "403 key_not_allowed")], ids=["unknown", "wrong kind"]
)
def test_a_refused_key_stops_it_with_the_servers_message(
    api: LocalDatabase, tmp_path: Path, key: str, said: str
) -> None:
    log = tmp_path / "access.log"
    log.write_text(LINE.format(client="c", second=1, path="a"))
    report = import_log(log, Target(api.url, api.keys.get(key, key), api.keys["read"]))
    assert report.stopped is not None
    assert said in report.stopped
    assert report.tally.sent == 0


def test_an_unreachable_server_is_retried_and_then_given_up(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(LINE.format(client="c", second=1, path="a"))
    pauses: list[float] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nothing listens on it
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        report = import_log(log, Target(url, "ma_x", "mr_x"), sleep=pauses.append)
    assert report.stopped is not None
    assert "could not be delivered in 8 tries" in report.stopped
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32]
