"""Database logins with external credentials: a rotating secret, and those that Lambda provides."""

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

import boto3
import psycopg
import pytest
from moto import mock_aws
from psycopg.conninfo import conninfo_to_dict

from muster.db import dsn
from muster.db.client import connect
from muster.db.dsn import ca_bundle, login_of
from muster.platform.errors import DatabaseUnavailable, SettingMissing
from muster.platform.settings import Settings, load_settings
from tests.conftest import LocalDatabase

REGION = "eu-central-1"
SIGNED = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": REGION}


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    dsn._secret.cache_clear()
    with mock_aws():
        yield


def keep(value: str) -> str:
    client = boto3.client("secretsmanager", region_name=REGION)
    try:
        return str(client.create_secret(Name="muster", SecretString=value)["ARN"])
    except client.exceptions.ResourceExistsException:
        return str(client.put_secret_value(SecretId="muster", SecretString=value)["ARN"])


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize("form", ["url", "object"])
def test_a_secret_is_a_url_or_an_rds_object(local_database: LocalDatabase, form: str) -> None:
    address = urlsplit(local_database.url)
    parts = {
        "host": address.hostname,
        "port": address.port,
        "dbname": address.path[1:],
        "username": address.username,
        "password": address.password,
        "sslmode": "disable",
    }
    arn = keep(local_database.url if form == "url" else json.dumps(parts))
    with connect(Settings(database_secret_arn=arn, aws_region=REGION)) as connection:
        assert connection.info.dbname == address.path[1:]


@pytest.mark.usefixtures("secrets")
def test_a_rotated_secret_is_read_again_once(local_database: LocalDatabase) -> None:
    head, _, tail = local_database.url.partition("@")
    settings = Settings(database_secret_arn=keep(f"{head}_old@{tail}"), aws_region=REGION)
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        connect(settings)
    keep(local_database.url)
    with connect(settings) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.usefixtures("secrets")
def test_a_secret_that_cannot_be_read_is_a_503() -> None:
    unknown = keep("x").replace("muster", "another")
    with pytest.raises(DatabaseUnavailable, match="secret"):
        login_of(Settings(database_secret_arn=unknown, aws_region=REGION))


def test_with_iam_the_role_logs_in_with_a_token_over_verified_tls() -> None:
    settings = load_settings({**SIGNED, "DATABASE_HOST": "db.example.org", "DATABASE_ROLE": "muster_ingest"})
    login = conninfo_to_dict(login_of(settings))
    assert (login["user"], login["dbname"], login["sslmode"]) == ("muster_ingest", "muster", "verify-full")
    assert str(login["password"]).startswith("db.example.org:5432/?Action=connect&DBUser=muster_ingest&")
    assert ssl.create_default_context(cafile=str(login["sslrootcert"])).cert_store_stats()["x509_ca"] > 50
    assert login["sslrootcert"] == ca_bundle()


def test_under_snap_start_credentials_come_from_lambdas_address() -> None:
    asked: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"AccessKeyId": "A", "SecretAccessKey": "B", "Token": "C"}).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.handle_request, daemon=True).start()
    values = {
        "DATABASE_HOST": "h",
        "DATABASE_ROLE": "muster_reader",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{server.server_port}/creds",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "let me in",
    }
    login = conninfo_to_dict(login_of(load_settings(values)))
    server.server_close()
    assert asked == ["let me in"]
    assert "X-Amz-Security-Token=C" in str(login["password"])


def test_without_credentials_the_missing_variable_is_named() -> None:
    with pytest.raises(SettingMissing, match="AWS_ACCESS_KEY_ID"):
        login_of(load_settings({"DATABASE_HOST": "h", "DATABASE_ROLE": "r"}))


@pytest.mark.parametrize(
    ("values", "missing"), [({}, "DATABASE_URL"), ({"INGEST_MODE": "buffered", "DATABASE_URL": "x"}, "QUEUE_URL")]
)
def test_a_deployment_without_a_database_or_queue_is_named(values: dict[str, str], missing: str) -> None:
    with pytest.raises(SettingMissing, match=missing):
        load_settings(values)
