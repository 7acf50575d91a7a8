"""Signs the 15-minute tokens that replace passwords for IAM logins to RDS.

It uses only the standard library: botocore would more than double what a cold start of ingest spends on imports.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from muster.platform.aws_credentials import AwsCredentials

_ALGORITHM = "AWS4-HMAC-SHA256"
_SERVICE = "rds-db"
_EXPIRES_SECONDS = 900
_EMPTY = hashlib.sha256(b"").hexdigest()


def sign_token(
    host: str, port: int, user: str, *, region: str, credentials: AwsCredentials, now: datetime | None = None
) -> str:
    """A token that lets `user` log in to the database at `host`, the same as boto3's generate_db_auth_token."""
    at = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    day = at[:8]
    credential_scope = f"{day}/{region}/{_SERVICE}/aws4_request"
    signed = {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key_id}/{credential_scope}",
        "X-Amz-Date": at,
        "X-Amz-Expires": str(_EXPIRES_SECONDS),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.session_token:
        signed["X-Amz-Security-Token"] = credentials.session_token
    action = {"Action": "connect", "DBUser": user}
    canonical_request = "\n".join(
        ["GET", "/", _canonical_query_string(action | signed), f"host:{host}:{port}", "", "host", _EMPTY]
    )
    string_to_sign = "\n".join(
        [_ALGORITHM, at, credential_scope, hashlib.sha256(canonical_request.encode()).hexdigest()]
    )
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in (day, region, _SERVICE, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, string_to_sign.encode(), "sha256").hex()
    return f"{host}:{port}/?{_query_string(action)}&{_query_string(signed)}&X-Amz-Signature={signature}"


def _query_string(values: Mapping[str, str]) -> str:
    return "&".join(f"{_percent_encode(name)}={_percent_encode(value)}" for name, value in values.items())


def _canonical_query_string(values: Mapping[str, str]) -> str:
    return "&".join(sorted(f"{_percent_encode(name)}={_percent_encode(value)}" for name, value in values.items()))


def _percent_encode(text: str) -> str:
    return quote(text, safe="-._~")
