"""A batch that was read."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from muster.rejections import Rejection

if TYPE_CHECKING:
    from muster.models import EnvelopeIn


@dataclass(slots=True)
class Batch:
    """A batch that was read: its candidates for storing, and the rest."""

    envelope: "EnvelopeIn"
    ids: list[str | None]
    """Of every event received, by index; None where a rejected one has none that can be read."""
    body: str
    """A JSON object whose `events` are the candidates as they were sent."""
    candidates: list[int]
    """Their indices among the events received, in the order of `body`."""
    is_plain: bool
    """One session and user, no bot, no id twice: what the database can store without looking closer."""
    bots: list[int] = field(default_factory=list)
    """Positions among the candidates."""
    contexts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By session: {"browser", "context"}."""
    rejections: list[Rejection] = field(default_factory=list)
