"""Each check of diagnostics reports its own fault and no other, and its remedy fixes the fault."""

import asyncio
import datetime as dt
import ipaddress
import os
import re
import socket
import ssl
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from moto import mock_aws

from functions.consume import app as consume
from functions.diagnostics import app as diagnostics
from functions.ingest import app as ingest
from functions.maintain import app as maintain
from local.postgres import Postgres, start_postgres
from muster.api import app as api
from muster.db.migrate import migrate
from muster.diagnostics import queue_probe
from muster.ingest import queue
from tests.support.databases import MIGRATIONS, Project, make_project
from tests.support.folders import open_folder
from tests.support.functions import Caller, Context, a_batch, an_event

POST, DIAGNOSTICS = "POST /v1/events", "GET /v1/diagnostics"
# Only a report that hangs takes as long, never a busy machine.
LONGEST_SECONDS = 120.0
BUDGET, CONNECT = "muster.diagnostics.report.BUDGET_SECONDS", "muster.diagnostics.report.CONNECT_SECONDS"
ATTRIBUTES = ("aws", "sqs", "start-message-move-task", "--source-arn")


def troubles(call: Caller) -> dict[str, dict[str, Any]]:
    """The checks that warn or fail, by name. Each must have a remedy, and the report the worst status."""
    started = time.monotonic()
    answer = call(DIAGNOSTICS, kind="read")
    assert time.monotonic() - started < LONGEST_SECONDS
    assert answer.status == 200, answer.json
    found = {each["name"]: each for each in answer.json["checks"] if each["status"] in ("warn", "fail")}
    assert all(each["remedy"] for each in found.values())
    failed = any(each["status"] == "fail" for each in found.values())
    assert answer.json["status"] == ("failing" if failed else "degraded" if found else "ok")
    return found


def only_trouble(call: Caller, name: str) -> dict[str, Any]:
    found = troubles(call)
    assert list(found) == [name], {each: found[each]["summary"] for each in found}
    return found[name]


def execute(database_url: str, statements: str) -> None:
    """Run statements one by one, as psql does."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in re.sub(r"--.*", "", statements).split(";"):
            if statement.strip():
                connection.execute(statement.encode())


def forget_connection() -> None:
    api.database().close()
    api.database.cache_clear()


@pytest.fixture(autouse=True)
def patient(environment: pytest.MonkeyPatch) -> None:
    """Give a report the time that a busy machine needs."""
    environment.setattr(BUDGET, 60.0)
    environment.setattr(CONNECT, 60)


# Connections that a test has closed may still count for a moment.
alone = pytest.mark.parametrize("own_server", ["alone"], indirect=True)


@contextmanager
def small_server() -> Iterator[Postgres]:
    """A migrated server of its own with 20 connections."""
    with (
        open_folder(in_memory=True) as folder,
        start_postgres(folder / "data", durable=False, settings={"max_connections": "20"}) as server,
    ):
        with psycopg.connect(server.url, autocommit=True) as connection:
            migrate(connection, MIGRATIONS)
        yield server


@pytest.fixture(scope="module")
def repaired_server() -> Iterator[Postgres]:
    """A server for the tests of this module. Each test repairs what it breaks."""
    with small_server() as server:
        yield server


@pytest.fixture
def own_server(request: pytest.FixtureRequest, environment: pytest.MonkeyPatch) -> Iterator[Postgres]:
    """A server that the test may break. With the parameter "alone", no other test uses it."""
    with ExitStack() as stack:
        is_alone = getattr(request, "param", None) == "alone"
        server = stack.enter_context(small_server()) if is_alone else request.getfixturevalue("repaired_server")
        forget_connection()
        environment.setenv("DATABASE_URL", server.url)
        yield server
        forget_connection()


@pytest.fixture
def on_own_server(own_server: Postgres, environment: pytest.MonkeyPatch) -> Caller:
    project = make_project(own_server.url, f"tests {uuid.uuid4()}")
    return Caller(diagnostics.lambda_handler, project, "muster_reader", environment)


def test_connection_when_the_server_is_stopped(own_server: Postgres, on_own_server: Caller) -> None:
    own_server.stop()
    found = only_trouble(on_own_server, "connection")
    assert (found["status"], found["summary"]) == ("fail", "The database does not answer.")
    assert "start-db-instance" in found["remedy"]
    own_server.start()
    assert troubles(on_own_server) == {}


def test_connection_when_the_password_is_wrong(own_server: Postgres, on_own_server: Caller) -> None:
    with psycopg.connect(own_server.url, autocommit=True) as connection:
        connection.execute("ALTER ROLE muster PASSWORD 'another'")
        forget_connection()
        found = only_trouble(on_own_server, "connection")
        assert found["summary"] == "The database refuses the login."
        remedy = str(found["remedy"])
        password = psycopg.conninfo.conninfo_to_dict(own_server.url)["password"]
        connection.execute(remedy.replace("<login>", "muster").replace("<password>", str(password)).encode())
    assert troubles(on_own_server) == {}


def test_connection_when_the_database_is_not_there(own_server: Postgres, on_own_server: Caller) -> None:
    on_own_server.environment.setenv("DATABASE_URL", f"{own_server.url}-elsewhere")
    forget_connection()
    found = only_trouble(on_own_server, "connection")
    assert "does not exist" in found["summary"]
    execute(own_server.url, str(found["remedy"]).replace("<name>", '"muster-elsewhere"'))
    assert "connection" not in troubles(on_own_server)


@alone
def test_connection_when_every_connection_is_taken(own_server: Postgres, on_own_server: Caller) -> None:
    execute(own_server.url, "CREATE ROLE app LOGIN PASSWORD 'app'; GRANT muster_reader TO app")
    forget_connection()
    password = psycopg.conninfo.conninfo_to_dict(own_server.url)["password"]
    as_app = own_server.url.replace(f"muster:{password}", "app:app")
    on_own_server.environment.setenv("DATABASE_URL", as_app)
    with ExitStack() as taken:
        while True:
            try:
                taken.enter_context(psycopg.connect(as_app, autocommit=True))
            except psycopg.OperationalError:
                break
        found = only_trouble(on_own_server, "connection")
        assert found["summary"] == "The database has no connection left."
        execute(own_server.url, found["remedy"])  # by one of those that are reserved for its owner
        assert troubles(on_own_server) == {}


def test_tls_when_the_server_has_none(own_server: Postgres, on_own_server: Caller) -> None:
    on_own_server.environment.setenv("DATABASE_URL", f"{own_server.url}?sslmode=require")
    forget_connection()
    found = only_trouble(on_own_server, "tls")
    assert found["summary"] == "The TLS settings of the server and this function do not match."
    assert "correct sslmode in DATABASE_URL" in found["remedy"]  # the embedded server's build has no TLS to turn on
    on_own_server.environment.setenv("DATABASE_URL", f"{own_server.url}?sslmode=prefer")
    forget_connection()
    assert troubles(on_own_server) == {}


def test_tls_when_the_certificate_is_not_trusted(on_diagnostics: Caller, database_url: str, tmp_path: Path) -> None:
    port = int(str(psycopg.conninfo.conninfo_to_dict(database_url)["port"]))
    certificate, key = make_certificate(tmp_path)
    with tls_before(port, certificate, key) as encrypted:
        address = database_url.replace(f":{port}/", f":{encrypted}/")
        for variables, expected in (("sslmode=verify-full", ["tls"]), ("sslmode=require", [])):
            forget_connection()
            on_diagnostics.environment.setenv("DATABASE_URL", f"{address}?{variables}")
            assert list(troubles(on_diagnostics)) == expected
        forget_connection()
        on_diagnostics.environment.setenv("DATABASE_URL", f"{address}?sslmode=verify-full")
        found = only_trouble(on_diagnostics, "tls")
        assert found["summary"] == "The server's certificate is not trusted."
        options = re.search(r"sslmode=\S+", str(found["remedy"]))
        assert options is not None
        given = options[0].replace("<file>", str(certificate))
        on_diagnostics.environment.setenv("DATABASE_URL", f"{address}?{given}")
        forget_connection()
        assert troubles(on_diagnostics) == {}
        forget_connection()


@contextmanager
def tls_before(behind: int, certificate: Path, key: Path) -> Iterator[int]:
    """A port that accepts PostgreSQL's TLS request and relays to a server without TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)  # the request for TLS
        writer.write(b"S")
        try:
            await writer.start_tls(context)
        except (ssl.SSLError, ConnectionError):
            writer.close()  # the client does not trust us
            return
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", behind)
        await asyncio.gather(copy(reader, server_writer), copy(server_reader, writer))

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        finally:
            sink.close()

    async def end(server: asyncio.Server) -> None:
        server.close()
        relays = asyncio.all_tasks() - {asyncio.current_task()}
        for task in relays:
            task.cancel()
        await asyncio.gather(*relays, return_exceptions=True)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        serving = asyncio.start_server(relay, "127.0.0.1", 0)
        server = asyncio.run_coroutine_threadsafe(serving, loop).result(10)
        yield server.sockets[0].getsockname()[1]
        asyncio.run_coroutine_threadsafe(end(server), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """The files of a self-signed certificate for 127.0.0.1 and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    tomorrow = now + dt.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, tomorrow)
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    files = folder / "server.crt", folder / "server.key"
    files[0].write_bytes(certificate.public_bytes(encoding))
    files[1].write_bytes(private)
    return files


def test_server_when_it_is_read_only(own_server: Postgres, on_own_server: Caller) -> None:
    execute(own_server.url, "ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()")
    forget_connection()
    found = only_trouble(on_own_server, "server")
    execute(own_server.url, f"SET default_transaction_read_only = off; {found['remedy']}")
    assert troubles(on_own_server) == {}


def test_migrations_when_a_record_is_lost(on_diagnostics: Caller, database_url: str) -> None:
    execute(database_url, "DELETE FROM muster.schema_migrations WHERE version = 4")
    execute(database_url, only_trouble(on_diagnostics, "migrations")["remedy"])
    assert troubles(on_diagnostics) == {}


@pytest.mark.parametrize(
    "fault",
    [
        "DROP INDEX muster.analytics_events_time",
        "ALTER TABLE muster.analytics_sessions DROP COLUMN browser",
        "DROP TABLE muster.analytics_consent",
        "DROP FUNCTION muster.upsert_session",
        "ALTER TABLE muster.api_keys DROP CONSTRAINT api_keys_key_hash_key",
    ],
)
def test_schema_when_a_part_of_it_is_dropped(on_diagnostics: Caller, database_url: str, fault: str) -> None:
    execute(database_url, fault)
    found = troubles(on_diagnostics)
    # Dropping a table also drops its grants.
    assert list(found) in (["schema"], ["schema", "grants"])
    with psycopg.connect(database_url, autocommit=True) as connection:
        for each in found.values():
            connection.execute(each["remedy"].encode())
        connection.execute("RESET ROLE")
        migrate(connection, MIGRATIONS)
    assert troubles(on_diagnostics) == {}


def test_grants_when_one_is_revoked(on_diagnostics: Caller, database_url: str) -> None:
    execute(database_url, "REVOKE EXECUTE ON FUNCTION muster.ingest_full_path FROM muster_ingest")
    execute(database_url, "REVOKE SELECT ON muster.analytics_consent FROM muster_reader")
    execute(database_url, only_trouble(on_diagnostics, "grants")["remedy"])
    assert troubles(on_diagnostics) == {}


@pytest.mark.parametrize(
    "fault",
    [
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no'' END'",
        "ALTER TABLE muster.analytics_events ADD CONSTRAINT nothing CHECK (area = '')",
        "CREATE RULE swallow AS ON INSERT TO muster.analytics_sessions DO INSTEAD SELECT 1/0",
    ],
)
def test_write_canary_when_a_foreign_trigger_refuses_events(
    on_diagnostics: Caller, database_url: str, fault: str
) -> None:
    if "FUNCTION" in fault:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(fault.replace("''no''", "''no'';").encode())
            connection.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON muster.analytics_events FOR EACH ROW EXECUTE FUNCTION refuse()"
            )
    else:
        execute(database_url, fault)
    execute(database_url, only_trouble(on_diagnostics, "write_canary")["remedy"])
    assert troubles(on_diagnostics) == {}


def test_partitions_when_next_months_is_missing(on_diagnostics: Caller, database_url: str) -> None:
    following = (dt.datetime.now(dt.UTC).replace(day=1) + dt.timedelta(days=32)).strftime("%Y_%m")
    execute(database_url, f"DROP TABLE muster.analytics_events_{following}")
    execute(database_url, only_trouble(on_diagnostics, "partitions")["remedy"])
    assert troubles(on_diagnostics) == {}


def test_ingest_recent_when_no_event_arrived_for_a_day(post: Caller, on_diagnostics: Caller, database_url: str) -> None:
    post(POST, a_batch())
    execute(database_url, "UPDATE muster.analytics_events SET received_at = now() - interval '25 hours'")
    assert "$URL/v1/events" in only_trouble(on_diagnostics, "ingest_recent")["remedy"]
    post(POST, a_batch())
    assert troubles(on_diagnostics) == {}


def test_rejections_when_events_are_rejected(post: Caller, on_diagnostics: Caller, database_url: str) -> None:
    post(
        POST, a_batch(an_event(), an_event(timestamp=(dt.datetime.now(dt.UTC) - dt.timedelta(days=1_000)).isoformat()))
    )
    found = only_trouble(on_diagnostics, "rejections")
    assert found["data"]["byReason"] == {"timestamp_out_of_range": 1}
    execute(database_url, "UPDATE muster.projects SET event_window_days = 3650")
    command = re.search(r'curl -X POST "\$URL(\S+)" -H "authorization: Bearer \$ADMIN"', found["remedy"])
    assert command is not None
    assert on_diagnostics(f"POST {command[1]}", kind="admin").json["replayed"] == 1
    assert troubles(on_diagnostics) == {}


def test_losses_when_a_batch_has_not_arrived(post: Caller, on_diagnostics: Caller, database_url: str) -> None:
    session = str(uuid.uuid4())
    for number in (1, 3):
        post(POST, a_batch(sessionId=session, sequence=number))
    assert troubles(on_diagnostics) == {}  # it may be on its way
    execute(database_url, "UPDATE muster.analytics_sessions SET updated_at = now() - interval '6 minutes'")
    found = only_trouble(on_diagnostics, "losses")
    assert found["data"] == {"sessionsWithGaps": 1, "batchesMissing": 1, "eventsDropped": 0, "examples": [session]}
    command = re.search(r'curl -sS "\$URL(\S+)"', found["remedy"])
    assert command is not None
    route = "GET /v1/diagnostics/sessions/{sessionId}"
    assert on_diagnostics(route, kind="read", path=command[1]).json["batches"]["gaps"] == [[2, 2]]
    post(POST, a_batch(sessionId=session, sequence=2))
    assert troubles(on_diagnostics) == {}


def test_pilot_tokens_when_a_client_guesses_them(on_pilot: Caller, on_diagnostics: Caller, database_url: str) -> None:
    for number in range(60):
        assert troubles(on_diagnostics) == {} if number in (0, 59) else True
        on_pilot("POST /v1/pilot-tokens/redeem", {"token": f"mp_{number}", "userId": "eve"})
    found = only_trouble(on_diagnostics, "pilot_tokens")
    assert found["data"] == {"active": 0, "revoked": 0, "redemptions": 0, "unknownInAMinute": 60}
    assert "token_not_found" in found["remedy"]
    execute(database_url, "UPDATE muster.pilot_attempts SET since = now() - interval '1 hour'")
    assert troubles(on_diagnostics) == {}


def test_reconciliation_when_a_session_counts_wrongly(
    post: Caller, on_diagnostics: Caller, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    post(POST, a_batch(an_event(), an_event()))
    post(POST, a_batch(an_event()))
    roll_up_everything(on_diagnostics)
    assert troubles(on_diagnostics) == {}
    execute(database_url, "UPDATE muster.analytics_sessions SET events_count = 3 WHERE events_count = 2")
    execute(database_url, "UPDATE muster.reconciliations SET watermark = 0")
    capsys.readouterr()
    roll_up_everything(on_diagnostics)
    printed = capsys.readouterr().out
    assert '"EventsUnaccounted":1' in printed
    assert '"message":"sessions_differ"' in printed
    found = only_trouble(on_diagnostics, "reconciliation")
    assert (found["status"], found["data"]["differing"]) == ("fail", 1)
    execute(database_url, found["remedy"])
    assert troubles(on_diagnostics) == {}
    execute(database_url, "UPDATE muster.reconciliations SET checked_at = now() - interval '4 hours'")
    assert "MaintainFunction" in only_trouble(on_diagnostics, "reconciliation")["remedy"]
    roll_up_everything(on_diagnostics)
    assert troubles(on_diagnostics) == {}


def roll_up_everything(call: Caller) -> None:
    with call.environment.context() as as_admin:
        as_admin.setenv("DATABASE_ROLE", "muster_admin")
        maintain.lambda_handler({}, Context())


def test_consent_when_no_user_granted_it(on_diagnostics: Caller, database_url: str) -> None:
    execute(database_url, "UPDATE muster.projects SET consent_mode = 'opt_in'")
    execute(database_url, only_trouble(on_diagnostics, "consent")["remedy"])
    assert troubles(on_diagnostics) == {}


@pytest.fixture
def sqs(environment: pytest.MonkeyPatch) -> Iterator[Any]:
    """Queues in moto, and the environment of a buffered deployment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.setenv(name, "testing")
    for module in (queue, queue_probe):
        module._client.cache_clear()
    with mock_aws():
        client = boto3.client("sqs", region_name="us-east-1")
        made = client.create_queue(QueueName="muster", Attributes={"MaximumMessageSize": "1048576"})
        environment.setenv("QUEUE_URL", made["QueueUrl"])
        environment.setenv("DEAD_LETTER_QUEUE_URL", client.create_queue(QueueName="dead")["QueueUrl"])
        environment.setenv("INGEST_MODE", "buffered")
        api.database.cache_clear()
        yield client
    for module in (queue, queue_probe):
        module._client.cache_clear()


def test_queue_when_it_is_stuck(
    sqs: Any, environment: pytest.MonkeyPatch, project: Project, on_diagnostics: Caller
) -> None:
    assert troubles(on_diagnostics) == {}
    assert Caller(ingest.lambda_handler, project, "muster_ingest", environment)(POST, a_batch()).status == 202
    assert troubles(on_diagnostics) == {}  # it has only just come
    with environment.context() as impatient:
        impatient.setattr("muster.diagnostics.checks.queue.STUCK_SECONDS", 0)
        found = only_trouble(on_diagnostics, "queue")
    assert found["status"] == "fail"
    assert found["data"]["waiting"] == 1
    url = os.environ["QUEUE_URL"]
    message = sqs.receive_message(QueueUrl=url)["Messages"][0]
    environment.setenv("DATABASE_ROLE", "muster_ingest")
    forget_connection()
    record = {"messageId": "1", "body": message["Body"], "eventSource": "aws:sqs", "attributes": {}}
    context: Any = Context()
    assert consume.lambda_handler({"Records": [record]}, context)["batchItemFailures"] == []
    forget_connection()
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert troubles(on_diagnostics) == {}


def test_queue_when_messages_are_dead(sqs: Any, on_diagnostics: Caller) -> None:
    dead = os.environ["DEAD_LETTER_QUEUE_URL"]
    sqs.send_message(QueueUrl=dead, MessageBody="failed 200 times")
    found = only_trouble(on_diagnostics, "queue")
    assert (found["status"], found["data"]["dead"]) == ("fail", 1)
    command = str(found["remedy"]).split()
    assert tuple(command[:4]) == ATTRIBUTES
    assert command[4] == sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sqs.purge_queue(QueueUrl=dead)  # moto does not move messages
    assert troubles(on_diagnostics) == {}


def test_queue_when_sqs_denies_access(sqs: Any, on_diagnostics: Caller) -> None:
    on_diagnostics.environment.setenv("QUEUE_URL", os.environ["QUEUE_URL"] + "-unknown")
    api.database.cache_clear()
    found = only_trouble(on_diagnostics, "queue")
    assert found["status"] == "warn"
    assert "NonExistentQueue" in found["summary"]


@alone
def test_connections_when_four_fifths_are_taken(own_server: Postgres, on_own_server: Caller) -> None:
    with ExitStack() as taken:
        for _ in range(16):
            taken.enter_context(psycopg.connect(own_server.url, autocommit=True))
        found = only_trouble(on_own_server, "connections")
        assert found["data"]["limit"] == 20
        execute(own_server.url, found["remedy"])
        assert troubles(on_own_server) == {}


def test_clock_when_the_functions_clock_is_an_hour_off(on_diagnostics: Caller) -> None:
    with on_diagnostics.environment.context() as wrong:
        started, really = time.monotonic(), time.time() - 3600
        clock = SimpleNamespace(time=lambda: really + time.monotonic() - started)
        wrong.setattr("muster.diagnostics.checks.server.time", clock)
        found = only_trouble(on_diagnostics, "clock")
        assert abs(found["data"]["skewMs"] - 3_600_000) < 60_000
    assert troubles(on_diagnostics) == {}


@contextmanager
def silent_server(answers: int, behind: int) -> Iterator[int]:
    """A port that relays to another one and falls silent after so many bytes of responses."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def relay(client: socket.socket) -> None:
        passed = 0
        with client, socket.create_connection(("127.0.0.1", behind)) as server:
            for each in (client, server):
                each.settimeout(0.02)
            while not ended.is_set():
                for source, sink in ((client, server), (server, client)):
                    try:
                        data = source.recv(65536)
                    except TimeoutError:
                        continue
                    passed += len(data) if source is server else 0
                    if data and passed <= answers:
                        sink.sendall(data)

    def accept() -> None:
        while not ended.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=relay, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        ended.set()
        listener.close()


@pytest.mark.parametrize("answers", [0, 3_000, 20_000])
def test_connection_when_the_network_falls_silent(on_diagnostics: Caller, database_url: str, answers: int) -> None:
    port = int(str(psycopg.conninfo.conninfo_to_dict(database_url)["port"]))
    forget_connection()
    with silent_server(answers, port) as silent, on_diagnostics.environment.context() as impatient:
        impatient.setattr(BUDGET, 2.0)
        impatient.setattr(CONNECT, 2)
        on_diagnostics.environment.setenv("DATABASE_URL", database_url.replace(f":{port}/", f":{silent}/"))
        assert only_trouble(on_diagnostics, "connection")["status"] == "fail"
    on_diagnostics.environment.setenv("DATABASE_URL", database_url)
    forget_connection()
    assert troubles(on_diagnostics) == {}


ROLLUP_FAULTS = {
    "a day has another count": ("UPDATE muster.rollup_days SET events = events + 1", "fail"),
    "a user is missing": ("UPDATE muster.rollup_days SET users = users - 1 WHERE users > 0", "fail"),
    "an event was deleted by hand": (
        "DELETE FROM muster.analytics_events WHERE id IN (SELECT id FROM muster.analytics_events LIMIT 1)",
        "fail",
    ),
    "the server is another": ("UPDATE muster.rollup_state SET system_identifier = 1", "warn"),
    "the time zone was changed": ("UPDATE muster.projects SET time_zone = 'Asia/Kolkata'", "warn"),
    "they are being rebuilt": (
        "SELECT muster.reset_rollups(id) FROM muster.projects",
        "warn",
    ),
    "no roll-up runs": (
        "INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, event_type, area)"
        " SELECT p.id, p.id, gen_random_uuid(), now(), p.id, 'a', 'b' "
        "FROM muster.projects p, generate_series(1, 500); "
        "INSERT INTO muster.analytics_sessions (project_id, id, started_at, last_seen_at, events_count) "
        "SELECT id, id, now() - interval '1 hour', now() + interval '1 hour', 500 FROM muster.projects",
        "warn",
    ),
}


@pytest.mark.parametrize("fault", ROLLUP_FAULTS)
def test_rollups_when(post: Caller, on_diagnostics: Caller, database_url: str, fault: str) -> None:
    post(POST, a_batch(an_event(), an_event(), userId="ada"))
    roll_up_everything(on_diagnostics)
    assert troubles(on_diagnostics) == {}
    statements, status = ROLLUP_FAULTS[fault]
    # By the module, because the package has a function of its name.
    on_diagnostics.environment.setattr(sys.modules["muster.diagnostics.checks.rollups"], "MANY_UNROLLED", 500)
    execute(database_url, statements)
    found = only_trouble(on_diagnostics, "rollups")
    assert found["status"] == status, found["summary"]
    execute(database_url, found["remedy"])
    assert troubles(on_diagnostics) == {}
