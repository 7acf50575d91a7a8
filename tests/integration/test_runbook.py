"""Every command and statement of docs/runbook.md, run on a system that is really broken."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
import psycopg
import pytest
from botocore import xform_name

from local.gateway.logs import FunctionLogs
from local.gateway.server import local_api
from local.sam.template import parse_template
from muster.platform.errors import MusterError
from tests.support.databases import MIGRATIONS, Cluster, make_project
from tests.support.folders import open_folder
from tests.support.functions import a_batch, an_event
from tests.support.http import http
from tests.support.insights import TEMPLATE, saved_queries

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "runbook.md").read_text("utf-8")
COMMAND_SECONDS = 240
LOG_SECONDS = 60
QUESTIONS = [
    "1. It cannot connect",
    "2. Tables are missing",
    "3. There are errors in the logs",
    "4. A client's queue does not flush",
    "5. Consent is not set",
    "6. A pilot token is not taken",
]
SESSION = "00000000-0000-4000-8000-000000000001"
_BLOCK = re.compile(r"^( *)```(sh|sql)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)

# In place of a program that needs an account of AWS. What can be done here is done: the function migrate is run.
SAM = """
import contextlib, json, sys
from functions.migrate import app
assert sys.argv[1:6] == ["remote", "invoke", "MigrateFunction", "--stack-name", "muster"], sys.argv
assert sys.argv[6] == "-e" and len(sys.argv) == 8, sys.argv
with contextlib.redirect_stdout(sys.stderr):  # its log
    answer = app.lambda_handler(json.loads(sys.argv[7]), None)
print(json.dumps(answer))
"""
AWS = """
import json, os, sys
open(os.environ["AWS_CALLS"], "a").write(json.dumps(sys.argv[1:]) + "\\n")
"""


def sections() -> dict[str, str]:
    """The runbook's sections by question; the introduction has no name."""
    parts = re.split(r"^## (.+)$", TEXT, flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def blocks(section: str) -> list[tuple[str, str]]:
    """The section's code blocks, each with its language."""
    return [
        (language, re.sub(f"^{indent}", "", code, flags=re.M)) for indent, language, code in _BLOCK.findall(section)
    ]


SECTIONS = sections()
PRELUDE = blocks(SECTIONS[""])[1][1]


@dataclass
class Operator:
    """An operator with a shell, a SQL client and the runbook."""

    url: str
    database_url: str
    keys: dict[str, str]
    folder: Path
    unused: dict[str, list[tuple[str, str]]] = field(
        default_factory=lambda: {name: blocks(section) for name, section in SECTIONS.items() if name}
    )

    def follow(self, question: str, language: str, **replaced: str) -> str:
        """Run the section's next block, which must have this language. Return its output."""
        found, code = self.unused[question].pop(0)
        assert found == language, code
        for name, value in replaced.items():
            assert name.replace("_", "-") in code
            code = code.replace(name.replace("_", "-"), value)
        assert not re.findall(r"\b[A-Z]+(?:-[A-Z]+)+\b", code), f"what is in capitals is to be replaced: {code}"
        return self.shell(code) if language == "sh" else self.sql(code)

    def shell(self, code: str) -> str:
        """Run shell commands with the stand-ins for `sam` and `aws`."""
        environment = {
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'shared'}",
            "DATABASE_URL": self.database_url,
            "MIGRATIONS_DIR": str(MIGRATIONS),
            "AWS_CALLS": str(self.folder / "calls"),
            "no_proxy": "*",
            "URL": self.url,
            "READ": self.keys["read"],
            "WRITE": self.keys["write"],
            "ADMIN": self.keys["admin"],
        }
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{PRELUDE}\n{code}"],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    def sql(self, statement: str) -> str:
        """Run SQL as the database's owner. Return the rows as text."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return (
                "\n".join(str(row) for row in cursor.fetchall()) if cursor.description else cursor.statusmessage or ""
            )

    def remedies(self) -> list[str]:
        """The remedies of the failed checks."""
        headers = {"authorization": f"Bearer {self.keys['read']}"}
        answer = http.get(f"{self.url}/v1/diagnostics", headers=headers).json()
        checks = [check for check in answer["checks"] if check["status"] == "fail" and check["name"] != "write_canary"]
        return [check["remedy"] for check in checks]

    def post(self, batch: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.keys['write']}"}
        return http.post(f"{self.url}/v1/events", json=batch, headers=headers)

    def find(self, query: str, function: str = "IngestFunction", **replaced: str) -> list[dict[str, Any]]:
        """The log lines that a saved query finds. Waits, because a response can arrive before its log lines."""
        deadline = time.monotonic() + LOG_SECONDS
        while True:
            text = (self.folder / "log" / f"{function}.log").read_text("utf-8")
            lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
            if (found := saved_queries()[query].find(lines, **replaced)) or time.monotonic() > deadline:
                return found
            time.sleep(0.05)

    def finish(self, question: str) -> None:
        """Check that ingest works and that every block of the section was used."""
        assert "200" in self.shell("post").splitlines()[0]
        assert self.unused[question] == []

    def aws_calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "calls").read_text("utf-8").splitlines()]


@pytest.fixture
def operator(database_url: str) -> Iterator[Operator]:
    keys = make_project(database_url).keys
    with open_folder() as folder:
        for name, program in (("sam", SAM), ("aws", AWS)):
            file = folder / name
            file.write_text(f"#!{sys.executable}\n{program}", "utf-8")
            file.chmod(0o755)
        environment = {"DATABASE_URL": database_url}
        logs = FunctionLogs(directory=folder / "log")
        with local_api(environment=environment, parameters={"DatabaseMode": "external"}, logs=logs) as api:
            yield Operator(api.url, database_url, keys, folder)


def request_id(answer: str) -> str:
    found = re.search(r"^x-request-id: (\S+)", answer, re.MULTILINE | re.IGNORECASE)
    assert found is not None, answer
    return found[1]


def status(answer: str) -> int:
    return int(answer.split()[1])


def test_it_has_the_six_questions() -> None:
    assert [name for name in SECTIONS if name] == QUESTIONS


def test_the_template_has_each_query_alarm_and_parameter_it_names() -> None:
    template = parse_template(TEMPLATE)
    assert set(re.findall(r"`muster/([a-z-]+)`", TEXT)) == set(saved_queries())
    for section in [text for name, text in SECTIONS.items() if name]:
        for part in ("**You see**", "**Saved query**", "**Diagnostics**", "**Remedy**"):
            assert part in section
        assert re.findall(r"`muster/[a-z-]+`", section)
    alarms = re.findall(r"alarm ([A-Z]\w+)", TEXT)
    assert alarms
    assert {f"{alarm}Alarm" for alarm in alarms} <= set(template["Resources"])
    assert set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)*)`", TEXT)) <= set(template["Parameters"])


def test_every_sqlstate_and_error_code_it_names_exists() -> None:
    table = SECTIONS[QUESTIONS[2]] + SECTIONS[QUESTIONS[1]]
    states = set(re.findall(r"\b(?=\w*\d)[0-9][0-9A-Z]{4}\b", table))
    assert {"42P01", "42501", "57P01", "3F000"} <= states
    for state in states:
        psycopg.errors.lookup(state)
    known = {kind.code for kind in _kinds(MusterError)}
    codes = set(re.findall(r"\b[45]\d\d `([a-z_]+)`(?:, `([a-z_]+)`)?", TEXT))
    assert {code for pair in codes for code in pair if code} <= known


def _kinds(kind: type[MusterError]) -> list[type[MusterError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _kinds(child))]


def test_every_aws_call_it_names_exists() -> None:
    calls = re.findall(r"^ *aws (\S+) (\S+) --(\S+) \S+$", TEXT, re.MULTILINE)
    assert len(calls) == TEXT.count("  aws ") + TEXT.count("\naws ")
    for service, call, option in calls:
        client = boto3.client(service, region_name="us-east-1")
        name = client.meta.method_to_api_mapping[call.replace("-", "_")]
        members = client.meta.service_model.operation_model(name).input_shape.required_members
        required = {xform_name(member, "-") for member in members}
        assert required == {option}


def test_the_first_block_defines_what_the_others_use() -> None:
    (language, exports), _ = blocks(SECTIONS[""])
    assert (language, set(re.findall(r"(\w+)=", exports))) == ("sh", {"URL", "READ", "WRITE", "ADMIN"})


def test_it_cannot_connect(operator: Operator, postgres: Cluster) -> None:
    question = QUESTIONS[0]
    postgres.server.stop()
    try:
        answer = operator.follow(question, "sh")
        assert "database_unavailable" in answer
        assert "fail connection: The database does not answer." in answer
        assert [line["sqlstate"] for line in operator.find("database-errors")] == [None]
        operator.follow(question, "sh", DATABASE_ID="muster")
        assert operator.aws_calls() == [["rds", "start-db-instance", "--db-instance-identifier", "muster"]]
    finally:
        postgres.server.start()
    assert status(operator.shell("post")) == 200
    assert "True" in operator.follow(question, "sql")
    assert operator.follow(question, "sh").strip() == '{"status":"ok"}'
    operator.finish(question)


def test_tables_are_missing(operator: Operator) -> None:
    question = QUESTIONS[1]
    operator.sql("DROP TABLE muster.analytics_sessions CASCADE")
    assert "lacks a table" in operator.shell("post")
    answer = operator.follow(question, "sh")
    assert answer.startswith("failing")
    assert "table muster.analytics_sessions is missing" in answer
    assert "42P01" in {line["sqlstate"] for line in operator.find("database-errors")}
    verified = json.loads(operator.follow(question, "sh"))
    assert (verified["status"], verified["tables"]["analytics_sessions"]["exists"]) == ("different", False)
    _, migrate = operator.unused[question][0]
    migrated = json.loads(operator.follow(question, "sh"))
    assert (migrated["status"], migrated["applied"]) == ("different", [])
    for remedy in operator.remedies():
        operator.sql(remedy)
    assert json.loads(operator.shell(migrate))["status"] == "ok"
    assert operator.follow(question, "sh").strip() == "ok"
    operator.finish(question)


def test_the_same_command_migrates_an_empty_database(operator: Operator) -> None:
    operator.sql("DROP SCHEMA muster CASCADE")
    assert "failing" in operator.shell("diagnose")
    _, _, (_, migrate), _ = operator.unused[QUESTIONS[1]]
    answer = json.loads(operator.shell(migrate))
    assert (answer["status"], len(answer["applied"])) == ("ok", len(list(MIGRATIONS.glob("[0-9]*.sql"))))


def test_errors_in_the_logs(operator: Operator) -> None:
    question = QUESTIONS[2]
    operator.sql("REVOKE EXECUTE ON FUNCTION muster.ingest_fast_path FROM muster_ingest")
    failed = operator.shell("post")
    assert status(failed) == 503
    assert {line["sqlstate"] for line in operator.find("database-errors")} == {"42501"}
    *_, line = operator.find("trace-one-batch", REQUEST_ID=request_id(failed))
    assert (line["message"], line["code"], line["sqlstate"]) == ("request_failed", "database_unavailable", "42501")
    assert "fail grants:" in operator.follow(question, "sh")
    assert "idle" in operator.follow(question, "sql")
    for remedy in operator.remedies():
        operator.sql(remedy)
    operator.finish(question)


def test_a_clients_queue_does_not_flush(operator: Operator) -> None:
    question = QUESTIONS[3]
    operator.post(a_batch(an_event(), sessionId=SESSION, sequence=3))
    rejected = operator.post(a_batch(an_event(eventType=7))).json()
    operator.sql("UPDATE muster.api_keys SET revoked_at = now() WHERE kind = 'write'")
    refused = operator.follow(question, "sh")
    assert status(refused) == 401
    (line,) = operator.find("trace-one-batch", REQUEST_ID=request_id(refused))
    assert (line["message"], line["code"]) == ("request_failed", "invalid_key")
    assert len(operator.find("rejections-by-reason")) == 1
    (event,) = rejected["events"]
    assert [line["message"] for line in operator.find("trace-one-event", EVENT_ID=event["id"])] == ["event_rejected"]
    assert "warn rejections:" in operator.follow(question, "sh")
    assert operator.keys["write"][:8] in operator.follow(question, "sql")
    operator.keys["write"] = json.loads(operator.follow(question, "sh", PROJECT_NAME="tests"))["key"]
    assert status(operator.shell("post")) == 200
    traced = json.loads(operator.follow(question, "sh", EVENT_ID=event["id"]))
    assert [each["stage"] for each in traced["stages"] if each["status"] == "fail"] == ["validated"]
    ledger = json.loads(operator.follow(question, "sh", SESSION_ID=SESSION))
    assert ledger["batches"]["gaps"] == [[2, 2]]
    (kept,) = json.loads(operator.follow(question, "sh"))["rejections"]
    assert kept["reason"] == "invalid_event"
    operator.sql(
        "UPDATE muster.analytics_rejections SET payload = replace(payload, '7,', '\"7\",'), "
        "payload_bytes = payload_bytes + 2"
    )
    assert json.loads(operator.follow(question, "sh"))["replayed"] == 1
    arn = "arn:aws:sqs:us-east-1:123456789012:dead"
    operator.follow(question, "sh", DEAD_LETTER_QUEUE_ARN=arn)
    assert operator.aws_calls() == [["sqs", "start-message-move-task", "--source-arn", arn]]
    operator.finish(question)


def test_consent_is_not_set(operator: Operator) -> None:
    question = QUESTIONS[4]
    operator.sql("UPDATE muster.projects SET consent_mode = 'opt_in'")
    answer = operator.follow(question, "sh")
    assert status(answer) == 200
    assert "consent_missing" in answer
    batch = re.search(r'"batchId":"([^"]+)"', answer)
    assert batch is not None
    (line,) = operator.find("trace-one-batch", BATCH_ID=batch[1])
    assert (line["accepted"], line["ignored"]) == (0, {"consent_missing": 1})
    assert "warn consent:" in operator.follow(question, "sh")
    assert "('tests', 'opt_in', 'consent_missing', 1)" in operator.follow(question, "sql")
    assert '"status":"granted"' in operator.follow(question, "sh", USER_ID="runbook", VERSION="2026-01")
    assert '"accepted":1' in operator.shell("post")
    assert operator.follow(question, "sql", PROJECT_NAME="tests") == "UPDATE 1"
    assert operator.post(a_batch(an_event(), userId="another user")).json()["accepted"] == 1
    operator.finish(question)


def test_a_pilot_token_is_not_accepted(operator: Operator) -> None:
    question = QUESTIONS[5]
    client = httpx.Client(base_url=operator.url, timeout=30, trust_env=False)

    def send(path: str, kind: str, body: dict[str, Any]) -> httpx.Response:
        return client.post(path, json=body, headers={"authorization": f"Bearer {operator.keys[kind]}"})

    with client:
        token = send("/v1/pilot-tokens", "admin", {"participantType": "tester"}).json()["tokens"][0]["token"]
        guess = send("/v1/pilot-tokens/redeem", "write", {"token": token[:-1], "userId": "ada"})
        assert (guess.status_code, guess.json()["error"]["code"]) == (404, "token_not_found")
        (line,) = operator.find("trace-one-batch", "PilotFunction", REQUEST_ID=guess.headers["x-request-id"])
        assert (line["status"], line["code"]) == (404, "token_not_found")
        for number in range(60):
            guess = send("/v1/pilot-tokens/redeem", "write", {"token": f"mp_{number}", "userId": "eve"})
        assert (guess.status_code, guess.json()["error"]["code"]) == (429, "too_many_attempts")
        answer = operator.follow(question, "sh")
        assert "warn pilot_tokens:" in answer
        assert '"state": "active"' in answer
        assert token not in answer
        assert send("/v1/pilot-tokens/redeem", "write", {"token": token, "userId": "ada"}).status_code == 200
    operator.finish(question)
