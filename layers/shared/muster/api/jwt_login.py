"""Accepts a JWT from an identity provider in place of an admin key.

API Gateway has verified the token's signature, issuer, audience and time. The claim AdminJwtClaim lists the ids of the
projects. A project accepts logins if it has a key of the kind login. If the token has several projects, the request
names one in the header x-muster-project.
"""

import re
from collections.abc import Mapping
from uuid import UUID

from muster.db.client import Connection, Database, call_value
from muster.http.request import Request
from muster.platform.errors import LoginNotAllowed
from muster.platform.settings import Settings
from muster.validation.limits import UUID_PATTERN

PROJECT_HEADER = "x-muster-project"
# The gateway writes a list as "[a b]".
_BETWEEN = re.compile(r"[\s,\[\]\"]+")


def key_of_login(database: Database, request: Request, claims: Mapping[str, object]) -> bytes:
    """The hash of the key that stands for this login.

    Raises:
        LoginNotAllowed: the login gives no access to a project, or not to the one that the request names.
        DatabaseUnavailable: the project's login key cannot be read.
    """
    project_id = _project(database.settings, request, claims)
    key_hash = database.run(_get_login_key, project_id)
    if key_hash is None:
        raise LoginNotAllowed(
            "This project does not accept logins. Create a key of the kind login with the migrate action create_key."
        )
    return key_hash


def _project(settings: Settings, request: Request, claims: Mapping[str, object]) -> UUID:
    if not settings.admin_jwt_issuer or claims.get("iss") != settings.admin_jwt_issuer:
        raise LoginNotAllowed("The token's issuer is not AdminJwtIssuer. Log in with that issuer.")
    words = _BETWEEN.split(str(claims.get(settings.admin_jwt_claim) or ""))
    projects = {UUID(word) for word in words if re.fullmatch(UUID_PATTERN, word)}
    if not projects:
        raise LoginNotAllowed(f"The token's claim '{settings.admin_jwt_claim}' has no project id. Add one.")
    named = request.header(PROJECT_HEADER)
    if named is None:
        if len(projects) > 1:
            raise LoginNotAllowed(f"The token has several projects. Send the id of one in {PROJECT_HEADER}.")
        return projects.pop()
    if not re.fullmatch(UUID_PATTERN, named) or UUID(named) not in projects:
        raise LoginNotAllowed(f"The project in {PROJECT_HEADER} is not one of the token's projects.")
    return UUID(named)


def _get_login_key(connection: Connection, project_id: UUID) -> bytes | None:
    found: bytes | None = call_value(connection, "login_key", {"project_id": project_id})
    return found
