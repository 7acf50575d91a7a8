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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.logs import FunctionLogs
from local.server import LocalApi, local_api

WAIT_SECONDS = 20.0
PROJECT = Path(__file__).resolve().parents[2]
# The server finds routes with the matcher of the package.
ENVIRONMENT = {**os.environ, "PYTHONPATH": "layers/shared"}
TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Handler: app.lambda_handler, Timeout: 10, Layers: [!Ref Packages]}
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
          /quick:
            post: {x-amazon-apigateway-integration: {uri: !Sub "f/functions/${QuickFunction.Arn}/invocations"}}
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
  QuickFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/quick
      Timeout: 1
  BrokenFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/broken
"""
THING = '''
import json, os, sys, time
import packaged

calls = 0

def lambda_handler(event, context):
    """Do what the query says."""
    global calls
    calls += 1
    query = event.get("queryStringParameters") or {}
    if "file" in query:
        with open(query["file"], "a") as file:
            file.write("here")
    if "sleep" in query:
        time.sleep(float(query["sleep"]))
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


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    files = {
        "template.yaml": TEMPLATE,
        "layer/packaged.py": "NAME = 'from the layer'",
        "functions/thing/app.py": THING,
        "functions/quick/app.py": THING,
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


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_known(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_running(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    # A zombie has ended, whoever forgot to ask for its status.
    return is_known(pid) and not (state.exists() and state.read_text("utf-8").rpartition(")")[2].split()[0] == "Z")


def test_a_request_reaches_its_functions_handler_as_an_event(api: LocalApi) -> None:
    answer = ask(api.url, "/things/a%20b?x=1&x=2", body=b'{"a":1}', headers={"content-type": "application/json"})
    assert answer.status == 200
    event = answer.json["event"]
    assert event["routeKey"] == "POST /things/{id}"
    assert event["pathParameters"] == {"id": "a b"}
    assert event["queryStringParameters"] == {"x": "1,2"}
    assert event["body"] == '{"a":1}'
    assert 0 < answer.json["remaining"] <= 10_000


def test_a_compressed_body_arrives_byte_for_byte(api: LocalApi) -> None:
    body = gzip.compress(b"hello")
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    event = ask(api.url, "/things/1", body=body, headers=headers).json["event"]
    assert base64.b64decode(event["body"]) == body


def test_a_function_sees_its_own_variables_and_none_of_the_servers(
    monkeypatch: pytest.MonkeyPatch, api: LocalApi
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "1")
    thing = ask(api.url, "/things/1").json["environment"]
    quick = ask(api.url, "/quick").json["environment"]
    assert "SECRET_OF_THE_SERVER" not in thing
    assert thing["ONLY_THING"] == "1"
    assert "ONLY_THING" not in quick
    assert thing["FOR_ALL"] == quick["FOR_ALL"] == "yes"


def test_a_function_imports_from_its_layer(api: LocalApi) -> None:
    assert ask(api.url, "/things/1").json["packaged"] == "from the layer"


def test_a_handler_that_reads_its_input_does_not_hang(api: LocalApi) -> None:
    assert ask(api.url, "/things/1").json["input"] == ""


def test_requests_one_after_another_share_an_environment(api: LocalApi) -> None:
    first, second = ask(api.url, "/things/1").json, ask(api.url, "/things/1").json
    assert first["pid"] == second["pid"]
    assert (first["calls"], second["calls"]) == (1, 2)
    assert first["requestId"] != second["requestId"]


def test_requests_at_once_get_an_environment_each_up_to_the_limit(api: LocalApi) -> None:
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: ask(api.url, "/things/1?sleep=0.3").json, range(4)))
    assert len({answer["pid"] for answer in answers}) == 2
    assert sum(answer["calls"] for answer in answers) == 1 + 2 + 1 + 2


def test_a_handler_that_raises_is_a_500_and_keeps_its_environment(api: LocalApi, tmp_path: Path) -> None:
    before = ask(api.url, "/things/1").json["pid"]
    answer = ask(api.url, "/things/1?raise=1")
    assert (answer.status, answer.json) == (500, {"message": "Internal Server Error"})
    assert ask(api.url, "/things/1").json["pid"] == before
    log = tmp_path / "log" / "ThingFunction.log"
    wait_for(lambda: "ValueError: as asked" in log.read_text("utf-8"))


def test_a_crashed_environment_is_a_500_and_the_next_request_gets_a_fresh_one(api: LocalApi, tmp_path: Path) -> None:
    before = ask(api.url, "/things/1").json["pid"]
    assert ask(api.url, "/things/1?exit=3").status == 500
    assert ask(api.url, "/things/1").json["pid"] != before
    assert "exit status 3" in (tmp_path / "log" / "ThingFunction.log").read_text("utf-8")


def test_an_environment_that_died_while_idle_costs_no_request(api: LocalApi) -> None:
    before = ask(api.url, "/things/1").json["pid"]
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: not is_known(before))  # the server has noticed
    answer = ask(api.url, "/things/1")
    assert answer.status == 200
    assert answer.json["pid"] != before


def test_a_function_over_its_time_is_a_503_and_its_environment_is_gone(api: LocalApi) -> None:
    before = ask(api.url, "/quick").json["pid"]
    answer = ask(api.url, "/quick?sleep=60")
    assert (answer.status, answer.json) == (503, {"message": "Service Unavailable"})
    assert not is_running(before)
    assert ask(api.url, "/quick").status == 200


def test_a_function_that_cannot_be_imported_is_a_500_and_its_log_says_why(api: LocalApi, tmp_path: Path) -> None:
    assert ask(api.url, "/broken").status == 500
    assert "it cannot be imported" in (tmp_path / "log" / "BrokenFunction.log").read_text("utf-8")


def test_a_printed_line_reaches_the_functions_log(api: LocalApi, tmp_path: Path) -> None:
    assert ask(api.url, "/things/1?print=a-line").status == 200
    log = tmp_path / "log" / "ThingFunction.log"
    wait_for(lambda: "a-line" in log.read_text("utf-8").splitlines())


def test_a_path_without_a_route_is_a_404(api: LocalApi) -> None:
    for method, path in (("GET", "/nothing"), ("DELETE", "/things/1"), ("HEAD", "/things/1")):
        assert ask(api.url, path, method=method).status == 404


def test_a_body_over_ten_megabytes_is_refused(api: LocalApi) -> None:
    answer = ask(api.url, "/things/1", body=b"x" * (10 * 1024 * 1024 + 1))
    assert (answer.status, answer.json) == (413, {"message": "Request Entity Too Large"})


def test_browsers_are_answered_from_the_templates_cors(api: LocalApi) -> None:
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


def start_program(template: Path, logs: Path) -> tuple[subprocess.Popen[str], str]:
    program = subprocess.Popen(
        [sys.executable, "-m", "local.server", "--template", template, "--port", "0", "--log-dir", logs],
        cwd=PROJECT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert program.stdout is not None
    line = program.stdout.readline()
    assert "Serving template.yaml on http://127.0.0.1:" in line
    return program, line.split()[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_told_to_stop_finishes_the_request_in_flight(
    template: Path, tmp_path: Path, number: signal.Signals
) -> None:
    program, url = start_program(template, tmp_path)
    with program, ThreadPoolExecutor(1) as threads:
        started = tmp_path / "started"
        answer = threads.submit(ask, url, f"/things/1?sleep=1&file={started}")
        wait_for(started.exists)
        os.killpg(program.pid, number)  # to the whole group, as a terminal does on Ctrl-C
        assert answer.result(WAIT_SECONDS).status == 200
        assert program.wait(WAIT_SECONDS) == 0


def test_a_killed_server_takes_its_environments_with_it_even_a_busy_one(template: Path, tmp_path: Path) -> None:
    program, url = start_program(template, tmp_path)
    with program, ThreadPoolExecutor(1) as threads:
        pid = ask(url, "/things/1").json["pid"]
        started = tmp_path / "started"
        answer = threads.submit(ask, url, f"/things/1?sleep=60&file={started}")
        wait_for(started.exists)
        program.kill()
        wait_for(lambda: not is_running(pid))
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            answer.result(WAIT_SECONDS)


def test_a_taken_port_is_said_in_a_sentence(template: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = subprocess.run(
            [sys.executable, "-m", "local.server", "--template", template, "--port", port],
            cwd=PROJECT,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )
    assert result.returncode == 1
    assert f"Port {port} of 127.0.0.1 cannot be used" in result.stderr
