"""What is not stored, as the quarantine keeps it."""

from dataclasses import dataclass

from muster.errors import Detail

MAX_PAYLOAD_CHARACTERS = 16 * 1024
MAX_DETAILS = 20


@dataclass(frozen=True, slots=True)
class Rejection:
    """An event that is not stored, as the quarantine keeps it."""

    index: int | None
    reason: str
    details: list[Detail]
    payload: str
    """As sent, cut at 16 K characters, without what PostgreSQL cannot hold."""
    payload_bytes: int
    event_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    occurred_at: str | None = None


def refused_request(code: str, details: list[Detail], text: str | None) -> Rejection:
    """A whole request that was refused, as the quarantine keeps it."""
    return Rejection(
        index=None,
        reason=code,
        details=details[:MAX_DETAILS],
        payload=storable(text or ""),
        payload_bytes=len((text or "").encode("utf-8", "surrogatepass")),
    )


def storable(text: str) -> str:
    """A text as PostgreSQL can hold it, cut."""
    return text[:MAX_PAYLOAD_CHARACTERS].replace("\0", "\ufffd").encode("utf-8", "replace").decode()
