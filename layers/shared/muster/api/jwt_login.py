"""A login at an identity provider in place of an admin key: who was let in acts for a project of the token's claim.

The gateway has verified the token's signature, issuer, audience and time, and writes what the token says where only it
can. The projects are the ids that the claim AdminJwtClaim holds. Each must take logins, by a key of the kind
login; where there are several, the request names one in the header x-muster-project.
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
        LoginNotAllowed: it opens no project, or not the one that the request names.
        DatabaseUnavailable: it cannot be known.
    """
    project_id = _project(database.settings, request, claims)
    key_hash = database.run(_get_login_key, project_id)
    if key_hash is None:
        raise LoginNotAllowed(
            "The project takes no logins; let it with the action create_key of the function migrate, of the kind login."
        )
    return key_hash


def _project(settings: Settings, request: Request, claims: Mapping[str, object]) -> UUID:
    if not settings.admin_jwt_issuer or claims.get("iss") != settings.admin_jwt_issuer:
        raise LoginNotAllowed("The token is of another issuer than AdminJwtIssuer.")
    words = _BETWEEN.split(str(claims.get(settings.admin_jwt_claim) or ""))
    projects = {UUID(word) for word in words if re.fullmatch(UUID_PATTERN, word)}
    if not projects:
        raise LoginNotAllowed(f"The token's claim '{settings.admin_jwt_claim}' holds no project's id; put it in there.")
    named = request.header(PROJECT_HEADER)
    if named is None:
        if len(projects) > 1:
            raise LoginNotAllowed(f"The token is for several projects; name one by its id in {PROJECT_HEADER}.")
        return projects.pop()
    if not re.fullmatch(UUID_PATTERN, named) or UUID(named) not in projects:
        raise LoginNotAllowed(f"The token is not for the project of {PROJECT_HEADER}.")
    return UUID(named)


def _get_login_key(connection: Connection, project_id: UUID) -> bytes | None:
    found: bytes | None = call_value(connection, "login_key", {"project_id": project_id})
    return found
