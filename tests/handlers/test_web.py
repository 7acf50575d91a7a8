"""The web function: files, their encodings and how long browsers cache them."""

import base64
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from functions.web import app as web
from local.gateway.http_api import Request, to_event
from local.sam.template import Route
from tests.support.functions import Context

PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = b"console.log('the dashboard');" * 20
GZIP = gzip.compress(SCRIPT, mtime=0)
BROTLI = b"\x8bbrotli, as the build left it"


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A build of the dashboard in the test's own folder."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>Muster</title>", "utf-8")
    for name in ("assets/script-1.js", "muster.js"):
        (tmp_path / name).write_bytes(SCRIPT)
        (tmp_path / f"{name}.br").write_bytes(BROTLI)
        (tmp_path / f"{name}.gz").write_bytes(GZIP)
    monkeypatch.setattr(web, "BUILT", tmp_path)
    return tmp_path


def get(path: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The function's response to a browser's request."""
    request = Request("GET", path, "", [("host", "localhost"), *(headers or {}).items()], b"")
    event = to_event(request, Route("GET", path, "WebFunction"), {}, request_id="1")
    answer = web.lambda_handler(event, Context())
    assert answer["headers"]["x-request-id"]
    return answer


def body_of(answer: Mapping[str, Any]) -> bytes:
    assert answer["isBase64Encoded"]
    return base64.b64decode(answer["body"])


@pytest.mark.parametrize(
    ("accepted", "encoding", "body"),
    [
        ("gzip, deflate, br, zstd", "br", BROTLI),
        ("gzip", "gzip", GZIP),
        ("br;q=0, gzip;q=0.5", "gzip", GZIP),
        ("identity", None, SCRIPT),
        (None, None, SCRIPT),
    ],
)
def test_a_file_is_sent_in_the_smallest_encoding_accepted(
    built: Path, accepted: str | None, encoding: str | None, body: bytes
) -> None:
    answer = get("/muster.js", {} if accepted is None else {"accept-encoding": accepted})
    assert answer["statusCode"] == 200
    assert answer["headers"].get("content-encoding") == encoding
    assert answer["headers"]["vary"] == "accept-encoding"
    assert body_of(answer) == body


def test_only_files_named_by_their_content_are_cached_for_ever(built: Path) -> None:
    assert get("/assets/script-1.js")["headers"]["cache-control"] == "public, max-age=31536000, immutable"
    for path in ("/", "/muster.js", "/openapi.json"):
        headers = get(path)["headers"]
        assert headers["cache-control"] == "no-cache"
        again = get(path, {"if-none-match": headers["etag"]})
        assert (again["statusCode"], again["body"]) == (304, "")
        assert again["headers"]["etag"] == headers["etag"]
        assert get(path, {"if-none-match": '"another"'})["statusCode"] == 200


def test_another_build_has_another_tag(built: Path) -> None:
    before = get("/muster.js")["headers"]["etag"]
    (built / "muster.js").write_bytes(SCRIPT + b"//")
    os.utime(built / "muster.js", ns=(1, 1))
    assert get("/muster.js")["headers"]["etag"] != before


def test_every_file_has_its_content_type(built: Path) -> None:
    types = {
        "/": "text/html; charset=utf-8",
        "/assets/script-1.js": "text/javascript; charset=utf-8",
        "/muster.js": "text/javascript; charset=utf-8",
        "/openapi.json": "application/json",
    }
    for path, kind in types.items():
        headers = get(path)["headers"]
        assert (headers["Content-Type"], headers["x-content-type-options"]) == (kind, "nosniff")


def test_the_page_may_load_from_and_send_to_its_own_origin_only() -> None:
    headers = get("/")["headers"]
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data:",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "form-action": "'none'",
    }
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path", ["/assets/none.js", "/assets/../../app.py", "/assets/..", "/assets/.", "/assets/app.py", "/nothing"]
)
def test_a_file_outside_the_dashboard_is_not_found(built: Path, path: str) -> None:
    answer = get(path)
    assert answer["statusCode"] == 404
    error = json.loads(answer["body"])["error"]
    assert error["code"] == "not_found"
    assert error["requestId"] == answer["headers"]["x-request-id"]
    assert answer["headers"].get("cache-control") != "public, max-age=31536000, immutable"


def test_without_node_the_page_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "BUILT", tmp_path / "nothing")
    text = body_of(get("/")).decode()
    assert "Node" in text
    assert "make build-web" in text


def test_the_web_function_imports_nothing_of_the_database() -> None:
    program = "import app, sys; print(*sys.modules)"
    path = os.pathsep.join([str(PROJECT / "functions" / "web"), str(PROJECT / "layers" / "shared")])
    result = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    assert "muster.api.static_files" in loaded
    heavy = {
        "psycopg",
        "pydantic",
        "pydantic_core",
        "muster.api.app",
        "muster.db.client",
        "muster.auth.keys",
        "httpx",
        "boto3",
    }
    assert sorted(loaded & heavy) == []
