"""The local server runs functions in environments of their own, as Lambda does."""

import base64
import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.gateway.logs import FunctionLogs
from local.gateway.server import LocalApi, local_api

# Only a broken server takes as long as this.
WAIT_SECONDS = 60.0
PROJECT = Path(__file__).resolve().parents[2]
# The server finds routes with the matcher of the package.
ENVIRONMENT = {**os.environ, "PYTHONPATH": "layers/shared"}
TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Handler: app.lambda_handler, Timeout: 100, Layers: [!Ref Packages]}
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties:
      CorsConfiguration: {AllowOrigins: ["*"], AllowMethods: [POST], ExposeHeaders: [x-request-id]}
      DefinitionBody:
        paths:
          "/things/{id}":
            post: {x-amazon-apigateway-integration: &thing {uri: !Sub "f/functions/${ThingFunction.Arn}/invocations"}}
            get: {x-amazon-apigateway-integration: *thing}
          /other:
            post: {x-amazon-apigateway-integration: {uri: !Sub "f/functions/${OtherFunction.Arn}/invocations"}}
          /hanging:
            post: {x-amazon-apigateway-integration: {uri: !Sub "f/functions/${HangingFunction.Arn}/invocations"}}
          /broken:
            post: {x-amazon-apigateway-integration: {uri: !Sub "f/functions/${BrokenFunction.Arn}/invocations"}}
  Packages:
    Type: AWS::Serverless::LayerVersion
    Metadata: {BuildMethod: makefile}
    Properties: {ContentUri: layer}
  ThingFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/thing
      Environment: {Variables: {ONLY_THING: "1"}}
  OtherFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/other
  HangingFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/hanging
      Timeout: 1
  BrokenFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/broken
"""
THING = '''
import json, os, pathlib, sys, time
import packaged

calls = 0

def lambda_handler(event, context):
    """Do what the query says."""
    global calls
    calls += 1
    query = event.get("queryStringParameters") or {}
    if "gate" in query:
        gate = pathlib.Path(query["gate"])
        (gate / str(os.getpid())).touch()
        while not (gate / "open").exists():
            time.sleep(0.01)
    if "exit" in query:
        os._exit(int(query["exit"]))
    if "raise" in query:
        raise ValueError("as asked")
    if "print" in query:
        print(query["print"])
    answer = {
        "event": event, "pid": os.getpid(), "calls": calls, "environment": dict(os.environ),
        "packaged": packaged.NAME, "input": sys.stdin.read(),
        "requestId": context.aws_request_id, "remaining": context.get_remaining_time_in_millis(),
    }
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(answer)}
'''
HANGING = '''
import os, pathlib, threading

pathlib.Path(os.environ["PIDS"], str(os.getpid())).touch()

def lambda_handler(event, context):
    """Never return."""
    threading.Event().wait()
'''


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    files = {
        "template.yaml": TEMPLATE,
        "layer/packaged.py": "NAME = 'from the layer'",
        "functions/thing/app.py": THING,
        "functions/other/app.py": THING,
        "functions/hanging/app.py": HANGING,
        "functions/broken/app.py": "raise RuntimeError('it cannot be imported')",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "template.yaml"


@pytest.fixture
def logs(tmp_path: Path) -> FunctionLogs:
    return FunctionLogs(directory=tmp_path / "log")


@pytest.fixture
def api(template: Path, logs: FunctionLogs) -> Iterator[LocalApi]:
    with local_api(template, environment={"FOR_ALL": "yes"}, environments_per_function=2, logs=logs) as api:
        yield api


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as pool:
        yield pool


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    url: str, path: str, *, method: str = "POST", body: bytes | None = None, headers: dict[str, str] | None = None
) -> Answer:
    address = urlsplit(url)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=WAIT_SECONDS)
    try:
        connection.request(method, path, body, headers or {})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Gate:
    """Holds a handler until the test opens it. A handler that arrives leaves its process id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    @property
    def path(self) -> str:
        """The request that goes through this gate."""
        return f"/things/1?gate={self._folder}"

    def wait_for_arrival(self) -> int:
        """Wait until a handler is at the gate. Return its process id."""
        wait_for(lambda: any(self._folder.iterdir()))
        (arrived,) = self._folder.iterdir()
        return int(arrived.name)

    def open(self) -> None:
        (self._folder / "open").touch()


@pytest.fixture
def gates(tmp_path: Path, threads: ThreadPoolExecutor) -> Iterator[Callable[[], Gate]]:
    """Makes gates. They all open before the threads are waited for, so that no test hangs."""
    made: list[Gate] = []

    def make() -> Gate:
        made.append(Gate(tmp_path / f"gate-{len(made)}"))
        return made[-1]

    yield make
    for gate in made:
        gate.open()


def logged(folder: Path, function: str, text: str) -> Callable[[], bool]:
    """Whether a text is in a function's log: a response can arrive before its log lines."""
    log = folder / "log" / f"{function}.log"
    return lambda: log.exists() and text in log.read_text("utf-8")


def is_known(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_running(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    # A zombie has ended, even if its parent has not asked for its status.
    return is_known(pid) and not (state.exists() and state.read_text("utf-8").rpartition(")")[2].split()[0] == "Z")


def test_a_request_reaches_its_functions_handler_as_an_event(api: LocalApi) -> None:
    answer = ask(api.url, "/things/a%20b?x=1&x=2", body=b'{"a":1}', headers={"content-type": "application/json"})
    assert answer.status == 200
    event = answer.json["event"]
    assert event["routeKey"] == "POST /things/{id}"
    assert event["pathParameters"] == {"id": "a b"}
    assert event["queryStringParameters"] == {"x": "1,2"}
    assert event["body"] == '{"a":1}'
    assert 0 < answer.json["remaining"] <= 100_000


def test_a_compressed_body_arrives_byte_for_byte(api: LocalApi) -> None:
    body = gzip.compress(b"hello")
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    event = ask(api.url, "/things/1", body=body, headers=headers).json["event"]
    assert base64.b64decode(event["body"]) == body


def test_a_function_sees_its_own_variables_and_not_the_servers(monkeypatch: pytest.MonkeyPatch, api: LocalApi) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "1")
    thing = ask(api.url, "/things/1").json["environment"]
    other = ask(api.url, "/other").json["environment"]
    assert "SECRET_OF_THE_SERVER" not in thing
    assert thing["ONLY_THING"] == "1"
    assert "ONLY_THING" not in other
    assert thing["FOR_ALL"] == other["FOR_ALL"] == "yes"


def test_a_function_imports_from_its_layer(api: LocalApi) -> None:
    assert ask(api.url, "/things/1").json["packaged"] == "from the layer"


def test_a_handler_that_reads_its_input_does_not_hang(api: LocalApi) -> None:
    assert ask(api.url, "/things/1").json["input"] == ""


def test_sequential_requests_share_an_environment(api: LocalApi) -> None:
    first, second = ask(api.url, "/things/1").json, ask(api.url, "/things/1").json
    assert first["pid"] == second["pid"]
    assert (first["calls"], second["calls"]) == (1, 2)
    assert first["requestId"] != second["requestId"]


def test_concurrent_requests_get_their_own_environments_up_to_the_limit(
    api: LocalApi, gates: Callable[[], Gate], threads: ThreadPoolExecutor
) -> None:
    first, second, third = gates(), gates(), gates()
    answers = [threads.submit(ask, api.url, gate.path) for gate in (first, second)]
    first_pid, second_pid = first.wait_for_arrival(), second.wait_for_arrival()
    assert first_pid != second_pid
    # Both environments are busy, so the third request gets the one that is released.
    answers.append(threads.submit(ask, api.url, third.path))
    second.open()
    assert third.wait_for_arrival() == second_pid
    for gate in (first, third):
        gate.open()
    assert [answer.result().json["calls"] for answer in answers] == [1, 1, 2]


def test_a_request_without_a_free_environment_in_time_is_a_503(
    template: Path, logs: FunctionLogs, gates: Callable[[], Gate], threads: ThreadPoolExecutor
) -> None:
    gate = gates()
    with local_api(template, environments_per_function=1, wait_seconds=0.01, logs=logs) as api:
        answer = threads.submit(ask, api.url, gate.path)
        gate.wait_for_arrival()
        refused = ask(api.url, "/things/1")
        assert (refused.status, refused.json) == (503, {"message": "Service Unavailable"})
        gate.open()
        assert answer.result().status == 200


def test_a_handler_that_raises_is_a_500_and_keeps_its_environment(api: LocalApi, tmp_path: Path) -> None:
    before = ask(api.url, "/things/1").json["pid"]
    answer = ask(api.url, "/things/1?raise=1")
    assert (answer.status, answer.json) == (500, {"message": "Internal Server Error"})
    assert ask(api.url, "/things/1").json["pid"] == before
    wait_for(logged(tmp_path, "ThingFunction", "ValueError: as asked"))


def test_a_crash_is_a_500_and_the_next_request_gets_a_new_environment(api: LocalApi, tmp_path: Path) -> None:
    before = ask(api.url, "/things/1").json["pid"]
    assert ask(api.url, "/things/1?exit=3").status == 500
    assert ask(api.url, "/things/1").json["pid"] != before
    wait_for(logged(tmp_path, "ThingFunction", "exit status 3"))


def test_an_environment_that_died_while_idle_fails_no_request(api: LocalApi) -> None:
    before = ask(api.url, "/things/1").json["pid"]
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: not is_known(before))  # the server has noticed
    answer = ask(api.url, "/things/1")
    assert answer.status == 200
    assert answer.json["pid"] != before


def test_a_function_over_its_timeout_is_a_503_and_its_environment_ends(
    template: Path, logs: FunctionLogs, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    pids.mkdir()
    with local_api(template, environment={"PIDS": str(pids)}, logs=logs) as api:
        for number in (1, 2):
            answer = ask(api.url, "/hanging")
            assert (answer.status, answer.json) == (503, {"message": "Service Unavailable"})
            started = [int(file.name) for file in pids.iterdir()]
            assert len(started) == number
            assert not any(is_running(pid) for pid in started)


def test_a_function_that_cannot_be_imported_is_a_500_and_its_log_says_why(api: LocalApi, tmp_path: Path) -> None:
    assert ask(api.url, "/broken").status == 500
    wait_for(logged(tmp_path, "BrokenFunction", "it cannot be imported"))


def test_a_printed_line_reaches_the_functions_log(api: LocalApi, tmp_path: Path) -> None:
    assert ask(api.url, "/things/1?print=a-line").status == 200
    wait_for(logged(tmp_path, "ThingFunction", "a-line\n"))


def test_a_path_without_a_route_is_a_404(api: LocalApi) -> None:
    for method, path in (("GET", "/nothing"), ("DELETE", "/things/1"), ("HEAD", "/things/1")):
        assert ask(api.url, path, method=method).status == 404


def test_a_body_over_ten_megabytes_is_refused(api: LocalApi) -> None:
    answer = ask(api.url, "/things/1", body=b"x" * (10 * 1024 * 1024 + 1))
    assert (answer.status, answer.json) == (413, {"message": "Request Entity Too Large"})


def test_browsers_get_the_cors_headers_of_the_template(api: LocalApi) -> None:
    asking = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    answer = ask(api.url, "/things/1", method="OPTIONS", headers=asking)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "POST"
    answer = ask(api.url, "/things/1", headers={"Origin": "https://a.example"})
    assert answer.headers["access-control-expose-headers"] == "x-request-id"


def test_no_environment_outlives_the_server(template: Path, logs: FunctionLogs) -> None:
    with local_api(template, logs=logs) as api:
        pid = ask(api.url, "/things/1").json["pid"]
    assert not is_running(pid)


@contextmanager
def a_program(template: Path, logs: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The server as a program, and its URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "local.gateway.server", "--template", template, "--port", "0", "--log-dir", logs],
        cwd=PROJECT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        try:
            assert program.stdout is not None
            line = program.stdout.readline()
            assert "Serving template.yaml on http://127.0.0.1:" in line
            yield program, line.split()[-1]
        finally:
            program.kill()


def is_listening(url: str) -> bool:
    try:
        socket.create_connection((urlsplit(url).hostname, urlsplit(url).port or 0)).close()
    except ConnectionError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopping_server_finishes_the_request_in_flight(
    template: Path, tmp_path: Path, number: signal.Signals, gates: Callable[[], Gate], threads: ThreadPoolExecutor
) -> None:
    gate = gates()
    with a_program(template, tmp_path) as (program, url):
        answer = threads.submit(ask, url, gate.path)
        gate.wait_for_arrival()
        os.killpg(program.pid, number)  # to the whole group, as a terminal does on Ctrl-C
        wait_for(lambda: not is_listening(url))
        gate.open()
        assert answer.result(WAIT_SECONDS).status == 200
        assert program.wait(WAIT_SECONDS) == 0


def test_environments_end_with_a_killed_server_even_busy_ones(
    template: Path, tmp_path: Path, gates: Callable[[], Gate], threads: ThreadPoolExecutor
) -> None:
    gate = gates()
    with a_program(template, tmp_path) as (program, url):
        answer = threads.submit(ask, url, gate.path)
        pid = gate.wait_for_arrival()
        program.kill()
        wait_for(lambda: not is_running(pid))
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            answer.result(WAIT_SECONDS)


def test_a_taken_port_is_reported_in_a_sentence(template: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = subprocess.run(
            [sys.executable, "-m", "local.gateway.server", "--template", template, "--port", port],
            cwd=PROJECT,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )
    assert result.returncode == 1
    assert f"Another program uses port {port}. Choose another one with --port." in result.stderr
