"""The errors that Muster raises, each with its error code in the API.

MusterError
├── SettingMissing
├── KeyRefused
│   ├── MissingKey
│   ├── InvalidKey
│   ├── KeyNotAllowed
│   ├── OriginNotAllowed
│   └── LoginNotAllowed
├── RequestRefused                  the whole request is refused; nothing was stored
│   ├── InvalidJson
│   ├── InvalidBatch
│   ├── InvalidParameter
│   ├── PayloadTooLarge
│   └── UnsupportedEncoding
├── NotFound
│   └── TokenNotFound
├── TokenGone
│   ├── TokenExpired
│   ├── TokenRevoked
│   └── TokenUsedUp
├── TooManyAttempts
├── SessionBelongsToAnotherUser
├── ProjectNotChosen
├── DatabaseUnavailable             send the same request again
│   ├── AnswerLost                  a write may have been committed
│   └── SchemaIncomplete
└── MigrationRefused
"""

from collections.abc import Sequence
from typing import ClassVar, TypedDict


class Detail(TypedDict):
    """Where a value is wrong, and why. It never holds the value itself."""

    loc: list[str | int]
    type: str
    message: str


class MusterError(Exception):
    """The base class of Muster's errors."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, details: Sequence[Detail] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.details = list(details)


class SettingMissing(MusterError):
    """A required environment variable is not set."""

    code = "setting_missing"

    def __init__(self, name: str) -> None:
        super().__init__(f"The environment variable {name} is not set. Set it to run this function.")


class KeyRefused(MusterError):
    """The request is not authorised."""


class MissingKey(KeyRefused):
    """The request has no key."""

    code = "missing_key"

    def __init__(self) -> None:
        super().__init__("Send your project's key as 'Authorization: Bearer <key>' or as '?key=<key>'.")


class InvalidKey(KeyRefused):
    """The key is unknown or revoked."""

    code = "invalid_key"

    def __init__(self) -> None:
        super().__init__("This key is unknown or revoked. Use a current key of your project.")


class KeyNotAllowed(KeyRefused):
    """The route does not accept keys of this kind."""

    code = "key_not_allowed"

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__(f"This key is of the wrong kind. The route needs a key of kind {' or '.join(allowed)}.")


class OriginNotAllowed(KeyRefused):
    """The web page that sent the request has an origin that is not allowed."""

    code = "origin_not_allowed"

    def __init__(self) -> None:
        super().__init__(
            "This origin may not use this key. Add it to the project's allowedOrigins with the migrate action "
            "update_project and, unless that is '*', to the stack's parameter AllowedOrigins."
        )


class LoginNotAllowed(KeyRefused):
    """The login is valid but gives no access to the project."""

    code = "login_not_allowed"


class RequestRefused(MusterError):
    """The whole request is refused; nothing was stored."""

    code = "invalid_request"


class InvalidJson(RequestRefused):
    """The body is not JSON."""

    code = "invalid_json"


class InvalidBatch(RequestRefused):
    """The body is JSON, but its envelope is not a valid batch."""

    code = "invalid_batch"


class InvalidParameter(RequestRefused):
    """A query parameter is invalid."""

    code = "invalid_parameter"

    def __init__(self, name: str, message: str) -> None:
        detail = Detail(loc=["query", name], type="invalid_parameter", message=message)
        super().__init__(f"Parameter '{name}': {message}", details=[detail])


class PayloadTooLarge(RequestRefused):
    """The body is over the size limit, as sent or decompressed."""

    code = "payload_too_large"


class UnsupportedEncoding(RequestRefused):
    """The content encoding or content type is not supported."""

    code = "unsupported_encoding"


class NotFound(MusterError):
    """The project has no such resource."""

    code = "not_found"


class TokenNotFound(NotFound):
    """The project has no such pilot token."""

    code = "token_not_found"

    def __init__(self) -> None:
        super().__init__(
            "This project has no such token. Check that the token is complete and that the key is the project's."
        )


class TokenGone(MusterError):
    """The pilot token exists but can no longer be redeemed."""


class TokenExpired(TokenGone):
    """The pilot token has expired."""

    code = "token_expired"

    def __init__(self) -> None:
        super().__init__("This token has expired. Ask the organiser of the study for a new one.")


class TokenRevoked(TokenGone):
    """The pilot token was revoked."""

    code = "token_revoked"

    def __init__(self) -> None:
        super().__init__("This token was revoked. Ask the organiser of the study for a new one.")


class TokenUsedUp(TokenGone):
    """The pilot token has been redeemed as often as allowed."""

    code = "token_used_up"

    def __init__(self) -> None:
        super().__init__("This token is used up. Ask the organiser of the study for a new one.")


class TooManyAttempts(MusterError):
    """Too many unknown tokens were tried in the project; more of them are refused for a while."""

    code = "too_many_attempts"

    def __init__(self, *, retry_after_seconds: int) -> None:
        super().__init__("Too many unknown tokens were tried in this project. Try again in a minute.")
        self.retry_after_seconds = retry_after_seconds


class SessionBelongsToAnotherUser(MusterError):
    """The session already has another user."""

    code = "session_belongs_to_another_user"

    def __init__(self) -> None:
        super().__init__("This session belongs to another user. Start a new session when the user changes.")


class ProjectNotChosen(MusterError):
    """There is no key, and the database does not have exactly one project."""

    code = "project_not_chosen"

    def __init__(self, projects: int) -> None:
        super().__init__(
            f"No key was given, and the database has {'several projects' if projects else 'no project'}. "
            "Pass key= to AnalyticsService, or create a project with the migrate action create_project."
        )


class DatabaseUnavailable(MusterError):
    """The database cannot be reached, or did not carry out the request; the same request may be sent again."""

    code = "database_unavailable"

    def __init__(
        self,
        message: str = "The database cannot be reached. Send the same request again.",
        *,
        sqlstate: str | None = None,
        retry_after_seconds: int = 5,
    ) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.retry_after_seconds = retry_after_seconds


class AnswerLost(DatabaseUnavailable):
    """The connection broke before the database answered, so a write may have been committed or not."""

    def __init__(
        self,
        message: str = "The connection to the database broke before it answered. Send the same request again.",
        *,
        sqlstate: str | None = None,
    ) -> None:
        super().__init__(message, sqlstate=sqlstate)


class SchemaIncomplete(DatabaseUnavailable):
    """A table, function or grant is missing."""

    def __init__(self, *, sqlstate: str | None = None) -> None:
        super().__init__(
            "The database lacks a table, function or grant. Run migrate, then send the same request again. "
            "GET /v1/diagnostics says what is missing.",
            sqlstate=sqlstate,
            retry_after_seconds=30,
        )


class MigrationRefused(MusterError):
    """The migrations do not match those applied before, or one of them failed."""

    code = "migration_refused"
