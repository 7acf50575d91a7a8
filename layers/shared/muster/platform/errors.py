"""The errors that Muster raises, each with the code that a client reads.

MusterError
├── SettingMissing
├── KeyRefused
│   ├── MissingKey
│   ├── InvalidKey
│   ├── KeyNotAllowed
│   ├── OriginNotAllowed
│   └── LoginNotAllowed
├── RequestRefused                  the whole request; nothing of it was stored
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
│   └── SchemaIncomplete
└── MigrationRefused
"""

from collections.abc import Sequence
from typing import ClassVar, TypedDict


class Detail(TypedDict):
    """Where a value is wrong and how; never the value itself."""

    loc: list[str | int]
    type: str
    message: str


class MusterError(Exception):
    """The base of all errors that Muster raises on purpose."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, details: Sequence[Detail] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.details = list(details)


class SettingMissing(MusterError):
    """An environment variable that must be set is not."""

    code = "setting_missing"

    def __init__(self, name: str) -> None:
        super().__init__(f"The environment variable {name} is not set; set it to run this function.")


class KeyRefused(MusterError):
    """The request may not do what it asks for."""


class MissingKey(KeyRefused):
    """No key came with the request."""

    code = "missing_key"

    def __init__(self) -> None:
        super().__init__("Send your project's key as 'Authorization: Bearer <key>' or as '?key=<key>'.")


class InvalidKey(KeyRefused):
    """The key is unknown or revoked."""

    code = "invalid_key"

    def __init__(self) -> None:
        super().__init__("This key is unknown or revoked; use a current key of your project.")


class KeyNotAllowed(KeyRefused):
    """The key is of another kind than the route needs."""

    code = "key_not_allowed"

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__(f"This route needs a key of kind {' or '.join(allowed)}; this key is of another kind.")


class OriginNotAllowed(KeyRefused):
    """A web page sends the key that the project does not allow to."""

    code = "origin_not_allowed"

    def __init__(self) -> None:
        super().__init__(
            "Pages of this origin may not use this key; add the origin to the project's allowedOrigins, by the action "
            "update_project of the function migrate, and to the stack's AllowedOrigins where that is not '*'."
        )


class LoginNotAllowed(KeyRefused):
    """A login that the gateway let in opens no project, or not this one."""

    code = "login_not_allowed"


class RequestRefused(MusterError):
    """The whole request is refused; nothing of it was stored."""

    code = "invalid_request"


class InvalidJson(RequestRefused):
    """The body is not JSON."""

    code = "invalid_json"


class InvalidBatch(RequestRefused):
    """The body is JSON, but its envelope is not that of the route."""

    code = "invalid_batch"


class InvalidParameter(RequestRefused):
    """A query parameter cannot be used."""

    code = "invalid_parameter"

    def __init__(self, name: str, message: str) -> None:
        detail = Detail(loc=["query", name], type="invalid_parameter", message=message)
        super().__init__(f"Parameter '{name}': {message}", details=[detail])


class PayloadTooLarge(RequestRefused):
    """The body is larger than the route takes, as sent or inflated."""

    code = "payload_too_large"


class UnsupportedEncoding(RequestRefused):
    """The content encoding or type is none that the route reads."""

    code = "unsupported_encoding"


class NotFound(MusterError):
    """There is no such thing in this project."""

    code = "not_found"


class TokenNotFound(NotFound):
    """The project has no such pilot token."""

    code = "token_not_found"

    def __init__(self) -> None:
        super().__init__(
            "There is no such token in this project; see that it is whole, and sent with the project's key."
        )


class TokenGone(MusterError):
    """The pilot token is known, and cannot be redeemed any more."""


class TokenExpired(TokenGone):
    """Its time is over."""

    code = "token_expired"

    def __init__(self) -> None:
        super().__init__("This token has expired; ask whoever runs the study for another one.")


class TokenRevoked(TokenGone):
    """It was revoked."""

    code = "token_revoked"

    def __init__(self) -> None:
        super().__init__("This token was revoked; ask whoever runs the study for another one.")


class TokenUsedUp(TokenGone):
    """Others have redeemed it as often as it may be."""

    code = "token_used_up"

    def __init__(self) -> None:
        super().__init__("This token is used up; ask whoever runs the study for another one.")


class TooManyAttempts(MusterError):
    """So many unknown tokens were tried in the project that no more of them are looked at for a while."""

    code = "too_many_attempts"

    def __init__(self, *, retry_after_seconds: int) -> None:
        super().__init__("Too many unknown tokens were tried in this project; try again in a minute.")
        self.retry_after_seconds = retry_after_seconds


class SessionBelongsToAnotherUser(MusterError):
    """The session is known to be another user's."""

    code = "session_belongs_to_another_user"

    def __init__(self) -> None:
        super().__init__("This session belongs to another user; start a new session when the user changes.")


class ProjectNotChosen(MusterError):
    """A service without a key cannot tell which project it acts for."""

    code = "project_not_chosen"

    def __init__(self, projects: int) -> None:
        super().__init__(
            f"The database holds {projects} projects and no key was given; "
            "pass key= to AnalyticsService, or create a project with the migrate action create_project."
        )


class DatabaseUnavailable(MusterError):
    """The database did not answer or did not commit; nothing was stored."""

    code = "database_unavailable"

    def __init__(
        self,
        message: str = "The database cannot be reached; nothing was stored. Send the same request again.",
        *,
        sqlstate: str | None = None,
        retry_after_seconds: int = 5,
    ) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.retry_after_seconds = retry_after_seconds


class SchemaIncomplete(DatabaseUnavailable):
    """A table, function or grant that this needs is not there."""

    def __init__(self, *, sqlstate: str | None = None) -> None:
        super().__init__(
            "The database lacks a table, a function or a grant that this needs; nothing was stored. "
            "GET /v1/diagnostics names it; run migrate, then send the same request again.",
            sqlstate=sqlstate,
            retry_after_seconds=30,
        )


class MigrationRefused(MusterError):
    """The migrations on disk and those applied do not belong together."""

    code = "migration_refused"
