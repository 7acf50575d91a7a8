"""The report of a round."""

from collections import Counter
from dataclasses import dataclass, field

from tests.faults.environment import Mode


@dataclass
class Report:
    """What a round did and found."""

    seed: int
    mode: Mode
    sent: int = 0
    """Valid events."""
    acknowledged: int = 0
    rejected: int = 0
    """Invalid events."""
    first_statuses: Counter[str] = field(default_factory=Counter)
    """The statuses of events when they were first acknowledged."""
    answers: Counter[str] = field(default_factory=Counter)
    """HTTP statuses, and kinds of broken connections."""
    faults: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, str] = field(default_factory=dict)
    """Faults that this machine does not allow, with the reason."""
    lost_answers: Counter[str] = field(default_factory=Counter)
    """Answers lost after their commit, by path of ingest."""
    sqlstates: Counter[str] = field(default_factory=Counter)
    """As functions logged them."""
    rollups: int = 0
    failed_rollups: int = 0
    broken_invariants: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"seed {self.seed}, {self.mode}: {self.sent} events sent, {self.acknowledged} acknowledged "
            f"({listed(self.first_statuses)}), {self.rejected} rejected; answers: {listed(self.answers)}; "
            f"answers lost after their commit: {listed(self.lost_answers)}; faults: {listed(self.faults)}; "
            f"SQLSTATEs: {listed(self.sqlstates)}; roll-ups: {self.rollups} succeeded, {self.failed_rollups} failed; "
            f"broken invariants: {len(self.broken_invariants)}"
        )


def listed(counted: Counter[str]) -> str:
    """Names and counts in one line."""
    return ", ".join(f"{name} {times}" for name, times in sorted(counted.items())) or "none"
