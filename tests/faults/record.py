"""What one client sent, and how it was answered."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class ClientRecord:
    """Written by the client's thread. Other threads may read the counts, and the rest when the thread has ended."""

    sent: dict[str, str] = field(default_factory=dict)
    """The session of each valid event."""
    invalid: Counter[str] = field(default_factory=Counter)
    """The number of invalid events by session."""
    acknowledged: dict[str, str] = field(default_factory=dict)
    """The status of each valid event in its first acknowledgement."""
    acknowledged_batches: int = 0
    last_sequences: dict[str, int] = field(default_factory=dict)
    """The sequence number of the last batch of each session."""
    answers: Counter[str] = field(default_factory=Counter)
    """HTTP statuses, and kinds of broken connections."""
    violations: list[str] = field(default_factory=list)
    """Answers that no client should get."""
