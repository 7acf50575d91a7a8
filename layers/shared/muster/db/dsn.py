"""The connection string of the database: from a URL, a secret, or an IAM token."""

import json
from functools import cache
from importlib import resources
from typing import Any

from psycopg.conninfo import make_conninfo

from muster.db.rds_token import sign_token
from muster.platform.errors import DatabaseUnavailable
from muster.platform.settings import Settings

_CA_BUNDLE = "rds-ca.pem"


def login_of(settings: Settings, *, refetch: bool = False) -> str:
    """The current connection string; `refetch` reads the secret again, in case it was rotated.

    Raises:
        DatabaseUnavailable: the secret cannot be read.
    """
    if settings.database_secret_arn is not None:
        if refetch:
            _secret.cache_clear()
        return _from_secret(_secret(settings.database_secret_arn, settings.aws_region))
    if settings.database_host is None or settings.database_url:
        return settings.database_url
    user = settings.database_role or ""
    token = sign_token(
        settings.database_host,
        settings.database_port,
        user,
        region=settings.aws_region,
        credentials=settings.aws_credentials.get(),
    )
    return make_conninfo(
        host=settings.database_host,
        port=settings.database_port,
        dbname=settings.database_name,
        user=user,
        password=token,
        sslmode="verify-full",
        sslrootcert=ca_bundle(),
    )


def may_have_changed(settings: Settings) -> bool:
    """Whether a refused login may succeed with a new secret or token."""
    return settings.database_secret_arn is not None or bool(settings.database_host and not settings.database_url)


def ca_bundle() -> str:
    """The path of the CA certificates of RDS in all regions."""
    return str(resources.files("muster.db") / _CA_BUNDLE)


def _from_secret(secret: str) -> str:
    if not secret.lstrip().startswith("{"):
        return secret
    found: dict[str, Any] = json.loads(secret)
    return make_conninfo(
        host=found["host"],
        port=found.get("port", 5432),
        dbname=found.get("dbname", "muster"),
        user=found["username"],
        password=found["password"],
        sslmode=found.get("sslmode", "verify-full"),
        sslrootcert=found.get("sslrootcert", ca_bundle()),
    )


@cache
def _secret(arn: str, region: str) -> str:
    import boto3  # noqa: PLC0415 - costs 333 ms of CPU, and only a secret needs it
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

    try:
        client = boto3.client("secretsmanager", region_name=region)
        return str(client.get_secret_value(SecretId=arn)["SecretString"])
    except (BotoCoreError, ClientError) as error:
        raise DatabaseUnavailable(
            "The secret that holds the database login cannot be read. Send the same request again."
        ) from error
