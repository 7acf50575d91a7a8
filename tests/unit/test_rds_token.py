"""IAM tokens, compared with those of botocore."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import boto3
import pytest
from botocore.awsrequest import prepare_request_dict
from botocore.credentials import Credentials
from botocore.hooks import HierarchicalEmitter
from botocore.model import ServiceId
from botocore.signers import RequestSigner
from hypothesis import given
from hypothesis import strategies as st

from muster.db.rds_token import sign_token
from muster.platform.aws_credentials import AwsCredentials

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
HOSTS = st.from_regex(r"[a-z0-9-]{1,30}(\.[a-z0-9-]{1,20}){1,4}", fullmatch=True)


def parts(token: str) -> tuple[str, dict[str, list[str]]]:
    """Host and parameters. Their order may differ, because the signature covers them sorted."""
    address, _, parameters = token.partition("/?")
    return address, parse_qs(parameters, strict_parsing=True)


def at(token: str) -> datetime:
    """When a token was signed."""
    return datetime.strptime(parts(token)[1]["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


@given(
    host=HOSTS,
    port=st.integers(1, 65535),
    user=WORDS,
    region=st.sampled_from(["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1"]),
    key_id=st.from_regex(r"[A-Z0-9]{16,32}", fullmatch=True),
    secret=WORDS,
    session=st.none() | WORDS,
)
def test_a_token_is_botocores(
    host: str, port: int, user: str, region: str, key_id: str, secret: str, session: str | None
) -> None:
    # As generate_db_auth_token does, without making a client, which takes half a second.
    events = HierarchicalEmitter()
    signer = RequestSigner(ServiceId("RDS"), region, "rds-db", "v4", Credentials(key_id, secret, session), events)
    request: dict[str, Any] = {"url_path": "/", "query_string": "", "headers": {}, "method": "GET"}
    request["body"] = {"Action": "connect", "DBUser": user}
    prepare_request_dict(request, f"https://{host}:{port}")
    url = signer.generate_presigned_url(request, "connect", expires_in=900, region_name=region, signing_name="rds-db")
    expected = url.removeprefix("https://")
    credentials = AwsCredentials(key_id, secret, session)
    made = sign_token(host, port, user, region=region, credentials=credentials, now=at(expected))
    assert parts(made) == parts(expected)


def test_a_token_is_that_of_boto3() -> None:
    region = "eu-central-1"
    client = boto3.Session("AKIDEXAMPLE", "secret/+", "token/+=", region_name=region).client("rds")
    expected = client.generate_db_auth_token("db.example.org", 5432, "muster_ingest")
    credentials = AwsCredentials("AKIDEXAMPLE", "secret/+", "token/+=")
    made = sign_token("db.example.org", 5432, "muster_ingest", region=region, credentials=credentials, now=at(expected))
    assert parts(made) == parts(expected)


def test_a_token_holds_no_secret() -> None:
    made = sign_token("h", 1, "u", region="r", credentials=AwsCredentials("ID", "hunter2"))
    assert "hunter2" not in made


@pytest.mark.parametrize("part", ["host", "user"])
def test_another_host_or_user_has_another_signature(part: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    credentials = AwsCredentials("ID", "secret")
    known = {"host": "a", "user": "u"}

    def signature(values: dict[str, str]) -> str:
        return sign_token(values["host"], 1, values["user"], region="r", credentials=credentials, now=now)[-64:]

    assert signature(known) != signature({**known, part: "other"})
