"""Signs the 15-minute tokens that stand for passwords where RDS trusts IAM.

The standard library alone: botocore would cost every cold start more than all else that ingest imports.
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
    """A token that lets `user` log in to the database at `host`, as boto3's generate_db_auth_token makes it."""
    at = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    day = at[:8]
    scope = f"{day}/{region}/{_SERVICE}/aws4_request"
    signed = {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key_id}/{scope}",
        "X-Amz-Date": at,
        "X-Amz-Expires": str(_EXPIRES_SECONDS),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.session_token:
        signed["X-Amz-Security-Token"] = credentials.session_token
    action = {"Action": "connect", "DBUser": user}
    request = "\n".join(["GET", "/", _sorted(action | signed), f"host:{host}:{port}", "", "host", _EMPTY])
    to_sign = "\n".join([_ALGORITHM, at, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in (day, region, _SERVICE, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    return f"{host}:{port}/?{_joined(action)}&{_joined(signed)}&X-Amz-Signature={signature}"


def _joined(values: Mapping[str, str]) -> str:
    return "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in values.items())


def _sorted(values: Mapping[str, str]) -> str:
    return "&".join(sorted(f"{_encoded(name)}={_encoded(value)}" for name, value in values.items()))


def _encoded(text: str) -> str:
    return quote(text, safe="-._~")
