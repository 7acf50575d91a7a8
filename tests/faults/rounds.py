"""A round: clients post while faults strike, then all is mended, and the books are looked at."""

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

from tests.faults.books import imbalances
from tests.faults.clients import Client, Ledger
from tests.faults.consumer import consuming
from tests.faults.folding import folding
from tests.faults.strikes import STRIKES
from tests.faults.world import World, world

CLIENTS = 4
SETTLE_SECONDS = 90.0


@dataclass
class Report:
    """What a round saw."""

    seed: int
    mode: str
    sent: int = 0
    acknowledged: int = 0
    rejected: int = 0
    first_told: Counter[str] = field(default_factory=Counter)
    """Statuses of events, as first acknowledged."""
    statuses: Counter[str] = field(default_factory=Counter)
    """Of requests: HTTP statuses, and kinds of broken connections."""
    struck: Counter[str] = field(default_factory=Counter)
    lost_answers: int = 0
    left_out: set[str] = field(default_factory=set)
    sqlstates: Counter[str] = field(default_factory=Counter)
    """As functions met them."""
    folds: int = 0
    """Roll-forwards meanwhile, and those that a fault broke."""
    broken_folds: int = 0
    imbalances: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        faults, told, answers = _listed(self.struck), _listed(self.first_told), _listed(self.statuses)
        return (
            f"seed {self.seed}, {self.mode}: {self.sent} events sent, {self.acknowledged} acknowledged ({told}), "
            f"{self.rejected} rejected; answers: {answers}; {self.lost_answers} lost after their commit; "
            f"faults: {faults}; SQLSTATEs met: {_listed(self.sqlstates)}; "
            f"{self.folds} roll-forwards, {self.broken_folds} broken; imbalances: {len(self.imbalances)}"
        )


def play(seed: int, *, seconds: float, mode: str = "direct", only: Sequence[str] = ()) -> Report:
    """One round: in mode direct 200 is committed, in mode buffered 202 is queued, and stored by consume."""
    with world(seed, mode=mode) as made, consuming(made) if mode == "buffered" else nullcontext():
        with folding(made):
            clients = start_clients(made)
            strike(made, seconds, list(only) or list(STRIKES))
            settle(made, clients)
        if mode == "buffered":
            drain(made)
        with made.connect() as connection:
            found = imbalances(connection, [each.ledger for each in clients])
        found += unaccounted(made)
        return report(seed, mode, made, [each.ledger for each in clients], found)


def start_clients(made: World) -> list[Client]:
    """Clients that are under way."""
    shared = [f"{made.chance.getrandbits(32):08x}-0000-4000-8000-000000000000" for _ in range(6)]
    seeds = [made.chance.getrandbits(32) for _ in range(CLIENTS)]
    clients = [Client(made.url, made.project.keys["write"], seed, shared) for seed in seeds]
    for client in clients:
        client.start()
    return clients


def strike(made: World, seconds: float, names: Sequence[str]) -> None:
    """Make faults one after another until the time is up, each of them at least once."""
    until = time.monotonic() + seconds
    due = list(names)
    made.chance.shuffle(due)
    while due or time.monotonic() < until:
        name = due.pop() if due else made.chance.choice(names)
        time.sleep(made.chance.uniform(0.05, 0.4))
        STRIKES[name](made, made.chance.uniform(0.3, 1.2))
        made.struck[name] += 1


def settle(made: World, clients: Sequence[Client]) -> None:
    """Mend what is broken, and let the clients send what their queues hold."""
    made.link.fault, made.link.delay_seconds = None, 0.0
    made.be_up()
    deadline = time.monotonic() + SETTLE_SECONDS
    for client in clients:
        client.told_to_stop.set()
    for client in clients:
        client.join(max(deadline - time.monotonic(), 0.1))
    still = [each.name for each in clients if each.is_alive()]
    if still:
        raise TimeoutError(f"{', '.join(still)} could not send all within {SETTLE_SECONDS:.0f} s after all was mended")


def unaccounted(made: World) -> list[str]:
    """The log lines in which an event has no fate, or that are no errors of the database's."""
    lines = list(made.log_lines())
    found = [f"unaccounted in {line['batch_id']}" for line in lines if line.get("EventsUnaccounted")]
    found += [f"unexpected error: {line}" for line in lines if line.get("message") == "unexpected_error"]
    return found


def report(seed: int, mode: str, made: World, ledgers: Sequence[Ledger], found: list[str]) -> Report:
    """The round's report."""
    return Report(
        seed=seed,
        mode=mode,
        sqlstates=Counter(
            str(line["sqlstate"]) for line in made.log_lines() if line.get("message", "").startswith("database_")
        ),
        sent=sum(len(each.sent) for each in ledgers),
        acknowledged=sum(len(each.acknowledged) for each in ledgers),
        rejected=sum(each.spoilt for each in ledgers),
        first_told=Counter(status for each in ledgers for status in each.acknowledged.values()),
        statuses=sum((each.statuses for each in ledgers), Counter()),
        struck=made.struck,
        lost_answers=made.link.lost_answers,
        left_out=made.left_out,
        folds=made.folds,
        broken_folds=made.broken_folds,
        imbalances=found,
    )


def drain(made: World) -> None:
    """Wait until what was queued is stored."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while waiting := made.waiting_messages():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{waiting} messages are still in the queue after all was mended")
        time.sleep(0.2)


def _listed(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {times}" for name, times in sorted(counted.items())) or "none"
