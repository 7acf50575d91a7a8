"""Random histories of ingest, consent, identification and erasure: the database agrees with a simple model."""

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import psycopg
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from muster.db.client import Database
from muster.metrics.overview import get_metrics, get_raw_metrics
from muster.metrics.request import MetricsRequest
from muster.metrics.rollups import roll_up
from muster.platform.errors import SessionBelongsToAnotherUser
from muster.platform.settings import Settings
from muster.privacy.consent import ConsentRequest, DecisionIn, Status
from muster.projects.projects import create_key, create_project
from muster.service import AnalyticsService
from tests.support.databases import Cluster, access_to

# For each seed; two seeds, because two test processes share the work.
HISTORIES, STEPS = 500, 10
SESSIONS = [str(uuid.UUID(int=number)) for number in range(1, 3)]
USERS = ["ada", "bob"]
NOW = datetime.now(UTC).replace(microsecond=0)
# One before every erasure, one after.
TIMES = [NOW - timedelta(hours=2), NOW + timedelta(hours=20)]
MODES = ["off", "opt_out", "opt_in"]
ANONYMOUS: str | None = None

sessions, users = st.sampled_from(SESSIONS), st.sampled_from(USERS)
maybe_users = st.sampled_from([ANONYMOUS, *USERS])
sent = st.lists(st.tuples(st.integers(1, 8), st.sampled_from(TIMES)), min_size=1, max_size=3)


@dataclass
class Decision:
    """A stored consent decision."""

    number: int
    at: datetime
    user: str | None
    session: str | None
    status: str
    carried_over_from: int | None = None


@dataclass
class Session:
    """A session's row."""

    user: str | None
    conflicts: int = 0


@dataclass
class Model:
    """What the database should hold."""

    mode: str
    backwards: bool
    events: dict[tuple[str, int, datetime], str | None] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    numbers: int = 0
    erased_events: set[tuple[str, int]] = field(default_factory=set)
    erased_users: set[str] = field(default_factory=set)
    erased_sessions: dict[str, bool] = field(default_factory=dict)
    """Whether the whole session belonged to erased users."""

    def store_decision(
        self, at: datetime, user: str | None, session: str | None, status: str, carried_over_from: int | None = None
    ) -> None:
        """Store a decision."""
        self.numbers += 1
        self.decisions.append(Decision(self.numbers, at, user, session, status, carried_over_from))

    def carry_over(self, session: str, named: str | None) -> None:
        """Copy an anonymous session's decisions to its user, each once."""
        known = self.sessions.get(session)
        user = (known.user if known else None) or named
        for one in list(self.decisions):
            copies = [each for each in self.decisions if each.user == user and each.carried_over_from == one.number]
            if user is not None and one.session == session and one.user is None and not copies:
                self.store_decision(one.at, user, None, one.status, one.number)

    def consent(self, user: str | None, session: str | None) -> str | None:
        """The status of the latest decision."""
        decisions = [
            one for one in self.decisions
            if (user is not None and one.user == user) or (session is not None and one.session == session)
        ]  # fmt: skip
        return max(decisions, key=lambda one: (one.at, one.number)).status if decisions else None

    def user_of(self, session: str) -> str | None:
        """The session's user; None if several users shared the session."""
        known = self.sessions.get(session)
        return known.user if known and not known.conflicts else None

    def ingest(self, session: str, named: str | None, batch: list[tuple[int, datetime]]) -> list[str]:
        """The status or reason that each event gets."""
        if self.decisions:
            self.carry_over(session, named)
        user = named or self.user_of(session)
        consent = None if self.mode == "off" else self.consent(user, session)
        outcomes, stored, seen = [], 0, set()
        for number, at in batch:
            if self._is_erased(session, number, user, at):
                outcomes.append("erased")
            elif consent in ("denied", "withdrawn"):
                outcomes.append("consent_denied")
            elif self.mode == "opt_in" and consent is None:
                outcomes.append("consent_missing")
            elif number in seen or (session, number, at) in self.events:
                outcomes.append("duplicate")
                seen.add(number)
            else:
                outcomes.append("accepted")
                seen.add(number)
                stored += 1
                self.events[session, number, at] = user
        if stored:
            self.upsert_session(session, named)
        return outcomes

    def upsert_session(self, session: str, named: str | None) -> None:
        """Create the session or set its user."""
        known = self.sessions.get(session)
        if known is None:
            self.sessions[session] = Session(named)
        elif known.user is None:
            known.user = named
            if named is not None and self.backwards and not known.conflicts:
                for key in [key for key, user in self.events.items() if key[0] == session and user is None]:
                    self.events[key] = named
        elif named not in (None, known.user):
            known.conflicts += 1

    def erase(self, user: str) -> int:
        """Erase a user. Return the number of deleted events."""
        sessions = {s for s, row in self.sessions.items() if row.user == user}
        sessions |= {s for (s, _, _), event_user in self.events.items() if event_user == user}
        deleted = []
        for session in sessions:
            row = self.sessions.get(session)
            others = {event_user for (s, _, _), event_user in self.events.items() if s == session} - {user, None}
            whole = not others and (row is None or row.user in (user, None))
            deleted += [
                key for key, event_user in self.events.items()
                if key[0] == session and (whole or event_user == user)
            ]  # fmt: skip
            self.erased_sessions[session] = whole and self.erased_sessions.get(session, True)
            if whole:
                self.sessions.pop(session, None)
                self.decisions = [one for one in self.decisions if one.session != session]
            elif row and row.user == user:
                row.user = None
        for key in deleted:
            del self.events[key]
            self.erased_events.add(key[:2])
        self.erased_users.add(user)
        self.decisions = [one for one in self.decisions if one.user != user]
        return len(deleted)

    def _is_erased(self, session: str, number: int, user: str | None, at: datetime) -> bool:
        return (
            (session, number) in self.erased_events
            or (at < NOW and user in self.erased_users)
            or (at < NOW and user is None and self.erased_sessions.get(session, False))
        )


class Histories(RuleBasedStateMachine):
    """Each history has its own project."""

    url: str
    database: Database
    connection: psycopg.Connection[Any]

    @initialize(mode=st.sampled_from(MODES), backwards=st.booleans())
    def begin(self, mode: str, backwards: bool) -> None:
        """Create a project with random settings."""
        self.project = create_project(self.connection, str(uuid.uuid4()))
        self.connection.execute(
            "UPDATE muster.projects SET consent_mode = %s, identifies_backwards = %s WHERE id = %s",
            (mode, backwards, self.project),
        )
        self.service = AnalyticsService(self.database, key=create_key(self.connection, self.project, "admin"))
        self.model = Model(mode, backwards)
        self.batches = list[tuple[str, str | None, list[tuple[int, datetime]], bool]]()
        self.any_decision = False

    @rule(session=sessions, user=maybe_users, batch=sent, fast=st.booleans())
    def ingest(self, session: str, user: str | None, batch: list[tuple[int, datetime]], fast: bool) -> None:
        """Send a batch on the fast path or, with an invalid event in it, on the full path."""
        self.batches.append((session, user, batch, fast))
        self._send(session, user, batch, fast)

    @precondition(lambda self: self.batches)
    @rule(number=st.integers(0, 100))
    def send_again(self, number: int) -> None:
        """Send an earlier batch again."""
        self._send(*self.batches[number % len(self.batches)])

    @rule(session=sessions, user=maybe_users)
    def put_session(self, session: str, user: str | None) -> None:
        """Identify a session's user."""
        known = self.model.sessions.get(session)
        if known is not None and None not in (known.user, user) and known.user != user:
            with pytest.raises(SessionBelongsToAnotherUser):
                self.service.update_session(session, user)
            return
        self.service.update_session(session, user)
        self.model.upsert_session(session, user)
        if user is not None and self.model.decisions:
            self.model.carry_over(session, user)

    @rule(
        subject=st.one_of(st.tuples(users, st.none()), st.tuples(st.none(), sessions), st.tuples(users, sessions)),
        status=st.sampled_from(["granted", "denied", "withdrawn"]),
        minute=st.integers(0, 3),
    )
    def put_consent(self, subject: tuple[str | None, str | None], status: Status, minute: int) -> None:
        """Store a decision; its time may be before an earlier decision's."""
        user, session = subject
        at = NOW - timedelta(minutes=60 - minute)
        sent = DecisionIn(status=status, user_id=user, session_id=session, decided_at=at.isoformat())
        known = self.model.sessions.get(session or "")
        if known and None not in (known.user, user) and known.user != user:
            with pytest.raises(SessionBelongsToAnotherUser):
                self.service.put_consent(sent)
            return
        self.any_decision = True
        decided_by = user or (known.user if known else None)
        same = [one for one in self.model.decisions
                if (one.user, one.session, one.status, one.at) == (decided_by, session, status, at)]  # fmt: skip
        if not same:
            self.model.store_decision(at, decided_by, session, status)
        assert self.service.put_consent(sent).status == self.model.consent(decided_by, session)

    @rule(user=users)
    def erase(self, user: str) -> None:
        """Erase a user."""
        assert self.service.erase_subject(user).events == self.model.erase(user)

    @rule()
    def roll_up(self) -> None:
        """Roll up all events."""
        roll_up(self.connection, self.project, 1_000)

    @invariant()
    def events_and_consent_match_the_model(self) -> None:
        """Each event has the model's user, each user the model's consent."""
        if not hasattr(self, "model"):
            return
        rows = self.connection.execute(
            "SELECT session_id::text, id, occurred_at, user_id FROM muster.analytics_events WHERE project_id = %s",
            (self.project,),
        ).fetchall()
        found = {(s, cast(uuid.UUID, i).int, cast(datetime, at).astimezone(UTC)): user for s, i, at, user in rows}
        assert found == self.model.events
        for user in USERS if self.any_decision else ():
            known = self.service.get_consent(ConsentRequest(user_id=user)).status
            assert known == (self.model.consent(user, None) or "unknown")

    def teardown(self) -> None:
        """Metrics count the stored events, from rollups and from the events alone."""
        if not hasattr(self, "model"):
            return
        request = MetricsRequest(timeframe="all", breakdown="userId")
        answer, raw = (ask(self.connection, access_to(self.project), request) for ask in (get_metrics, get_raw_metrics))
        by_user = Counter(self.model.events.values())
        assert {row.value: row.events for row in answer.breakdown or []} == by_user
        assert answer.totals == raw.totals
        counted = self.connection.execute(
            "SELECT sum(events_count)::int FROM muster.analytics_sessions WHERE project_id = %s", (self.project,)
        ).fetchone()
        assert ((counted and counted[0]) or 0) == len(self.model.events)
        self.connection.execute("DELETE FROM muster.analytics_events WHERE project_id = %s", (self.project,))

    def _send(self, session: str, user: str | None, batch: list[tuple[int, datetime]], fast: bool) -> None:
        listed: list[dict[str, Any]] = [
            {"id": str(uuid.UUID(int=number)), "eventType": "t", "timestamp": at.isoformat()} for number, at in batch
        ]
        result = self.service.save_events(user, session, listed if fast else [*listed, {}])
        outcomes = [event.get("reason", event["status"]) for event in result["events"]][: len(batch)]
        assert outcomes == self.model.ingest(session, user, batch)


@pytest.fixture(scope="module")
def histories(postgres: Cluster) -> Iterator[type[Histories]]:
    with ExitStack() as stack:
        url = stack.enter_context(postgres.database())
        Histories.connection = stack.enter_context(psycopg.connect(url, autocommit=True))
        Histories.database = Database(Settings(database_url=url))
        stack.callback(Histories.database.close)
        yield Histories


@pytest.mark.parametrize("seed_number", [1, 2])
def test_the_database_agrees_with_the_model(histories: type[Histories], seed_number: int) -> None:
    run_state_machine_as_test(
        seed(seed_number)(histories),
        settings=settings(
            max_examples=HISTORIES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
