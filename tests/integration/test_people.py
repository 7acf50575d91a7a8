"""Consent, identify, ingest, erase and replay, in random histories: the database agrees with a simple model."""

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

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

# In each of the two halves, which two processors take at once.
HISTORIES, STEPS = 1_000, 10
SESSIONS = [str(uuid.UUID(int=number)) for number in range(1, 3)]
USERS = ["ada", "bob"]
NOW = datetime.now(UTC).replace(microsecond=0)
# Before any erasure, and after all of them.
TIMES = [NOW - timedelta(hours=2), NOW + timedelta(hours=20)]
MODES = ["off", "opt_out", "opt_in"]
NOBODY: str | None = None

sessions, users = st.sampled_from(SESSIONS), st.sampled_from(USERS)
maybe_users = st.sampled_from([NOBODY, *USERS])
sent = st.lists(st.tuples(st.integers(1, 8), st.sampled_from(TIMES)), min_size=1, max_size=3)


@dataclass
class Decided:
    """A decision as it is kept."""

    number: int
    at: datetime
    user: str | None
    session: str | None
    status: str
    follows: int | None = None


@dataclass
class Session:
    """A session's row."""

    user: str | None
    conflicts: int = 0


@dataclass
class Model:
    """What should be stored, in the plainest words."""

    mode: str
    backwards: bool
    events: dict[tuple[str, int, datetime], str | None] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    decisions: list[Decided] = field(default_factory=list)
    numbers: int = 0
    erased_events: set[tuple[str, int]] = field(default_factory=set)
    erased_users: set[str] = field(default_factory=set)
    erased_sessions: dict[str, bool] = field(default_factory=dict)
    """Whether all of it was the erased users'."""

    def decide(
        self, at: datetime, user: str | None, session: str | None, status: str, follows: int | None = None
    ) -> None:
        """Keep a decision."""
        self.numbers += 1
        self.decisions.append(Decided(self.numbers, at, user, session, status, follows))

    def follow(self, session: str, named: str | None) -> None:
        """What a session decided is what its user decided."""
        known = self.sessions.get(session)
        user = (known.user if known else None) or named
        for one in list(self.decisions):
            followed = [each for each in self.decisions if each.user == user and each.follows == one.number]
            if user is not None and one.session == session and one.user is None and not followed:
                self.decide(one.at, user, None, one.status, one.number)

    def consent(self, user: str | None, session: str | None) -> str | None:
        """The latest decision."""
        theirs = [
            one for one in self.decisions
            if (user is not None and one.user == user) or (session is not None and one.session == session)
        ]  # fmt: skip
        return max(theirs, key=lambda one: (one.at, one.number)).status if theirs else None

    def user_of(self, session: str) -> str | None:
        """Whose the session is, if it is one user's alone."""
        known = self.sessions.get(session)
        return known.user if known and not known.conflicts else None

    def ingest(self, session: str, named: str | None, batch: list[tuple[int, datetime]]) -> list[str]:
        """What becomes of each event."""
        if self.decisions:
            self.follow(session, named)
        user = named or self.user_of(session)
        consent = None if self.mode == "off" else self.consent(user, session)
        became, stored, seen = [], 0, set()
        for number, at in batch:
            if self._is_erased(session, number, user, at):
                became.append("erased")
            elif consent in ("denied", "withdrawn"):
                became.append("consent_denied")
            elif self.mode == "opt_in" and consent is None:
                became.append("consent_missing")
            elif number in seen or (session, number, at) in self.events:
                became.append("duplicate")
                seen.add(number)
            else:
                became.append("accepted")
                seen.add(number)
                stored += 1
                self.events[session, number, at] = user
        if stored:
            self.touch(session, named)
        return became

    def touch(self, session: str, named: str | None) -> None:
        """Bring a session up to date."""
        known = self.sessions.get(session)
        if known is None:
            self.sessions[session] = Session(named)
        elif known.user is None:
            known.user = named
            if named is not None and self.backwards and not known.conflicts:
                for place in [place for place, user in self.events.items() if place[0] == session and user is None]:
                    self.events[place] = named
        elif named not in (None, known.user):
            known.conflicts += 1

    def erase(self, user: str) -> int:
        """How many events go."""
        theirs = {s for s, row in self.sessions.items() if row.user == user}
        theirs |= {s for (s, _, _), whose in self.events.items() if whose == user}
        gone = []
        for session in theirs:
            row = self.sessions.get(session)
            others = {whose for (s, _, _), whose in self.events.items() if s == session} - {user, None}
            whole = not others and (row is None or row.user in (user, None))
            gone += [
                place for place, whose in self.events.items()
                if place[0] == session and (whole or whose == user)
            ]  # fmt: skip
            self.erased_sessions[session] = whole and self.erased_sessions.get(session, True)
            if whole:
                self.sessions.pop(session, None)
                self.decisions = [one for one in self.decisions if one.session != session]
            elif row and row.user == user:
                row.user = None
        for place in gone:
            del self.events[place]
            self.erased_events.add(place[:2])
        self.erased_users.add(user)
        self.decisions = [one for one in self.decisions if one.user != user]
        return len(gone)

    def _is_erased(self, session: str, number: int, user: str | None, at: datetime) -> bool:
        return (
            (session, number) in self.erased_events
            or (at < NOW and user in self.erased_users)
            or (at < NOW and user is None and self.erased_sessions.get(session, False))
        )


class People(RuleBasedStateMachine):
    """A project of its own for each history."""

    url: str
    database: Database
    connection: psycopg.Connection[Any]

    @initialize(mode=st.sampled_from(MODES), backwards=st.booleans())
    def begin(self, mode: str, backwards: bool) -> None:
        """A project of some settings."""
        self.project = create_project(self.connection, str(uuid.uuid4()))
        self.connection.execute(
            "UPDATE muster.projects SET consent_mode = %s, identifies_backwards = %s WHERE id = %s",
            (mode, backwards, self.project),
        )
        self.service = AnalyticsService(self.database, key=create_key(self.connection, self.project, "admin"))
        self.model = Model(mode, backwards)
        self.batches = list[tuple[str, str | None, list[tuple[int, datetime]], bool]]()

    @rule(session=sessions, user=maybe_users, batch=sent, plain=st.booleans())
    def ingest(self, session: str, user: str | None, batch: list[tuple[int, datetime]], plain: bool) -> None:
        """Send a batch, by the short way or, with an event that cannot be stored, the long one."""
        self.batches.append((session, user, batch, plain))
        self._send(session, user, batch, plain)

    @rule(place=st.integers(0, 100))
    def send_again(self, place: int) -> None:
        """An old batch."""
        if self.batches:
            self._send(*self.batches[place % len(self.batches)])

    @rule(session=sessions, user=maybe_users)
    def put_session(self, session: str, user: str | None) -> None:
        """Say whose a session is."""
        known = self.model.sessions.get(session)
        refuses = known is not None and None not in (known.user, user) and known.user != user
        if refuses:
            with pytest.raises(SessionBelongsToAnotherUser):
                self.service.update_session(session, user)
            return
        self.service.update_session(session, user)
        self.model.touch(session, user)
        if user is not None and self.model.decisions:
            self.model.follow(session, user)

    @rule(
        who=st.one_of(st.tuples(users, st.none()), st.tuples(st.none(), sessions), st.tuples(users, sessions)),
        status=st.sampled_from(["granted", "denied", "withdrawn"]),
        minute=st.integers(0, 3),
    )
    def decide(self, who: tuple[str | None, str | None], status: Status, minute: int) -> None:
        """Decide, at a time that may be before another decision's."""
        user, session = who
        at = NOW - timedelta(minutes=60 - minute)
        sent = DecisionIn(status=status, user_id=user, session_id=session, decided_at=at.isoformat())
        known = self.model.sessions.get(session or "")
        if known and None not in (known.user, user) and known.user != user:
            with pytest.raises(SessionBelongsToAnotherUser):
                self.service.put_consent(sent)
            return
        whose = user or (known.user if known else None)
        again = [one for one in self.model.decisions
                 if (one.user, one.session, one.status, one.at) == (whose, session, status, at)]  # fmt: skip
        if not again:
            self.model.decide(at, whose, session, status)
        assert self.service.put_consent(sent).status == self.model.consent(whose, session)

    @rule(user=users)
    def erase(self, user: str) -> None:
        """Forget a user."""
        assert self.service.erase_subject(user).events == self.model.erase(user)

    @rule()
    def fold(self) -> None:
        """Bring the rollups up to date."""
        roll_up(self.connection, self.project, 1_000)

    @invariant()
    def the_events_are_those_of_the_model(self) -> None:
        """Each with its user."""
        if not hasattr(self, "model"):
            return
        rows = self.connection.execute(
            "SELECT session_id::text, id, occurred_at, user_id FROM muster.analytics_events WHERE project_id = %s",
            (self.project,),
        ).fetchall()
        found = {(s, cast(uuid.UUID, i).int, cast(datetime, at).astimezone(UTC)): user for s, i, at, user in rows}
        assert found == self.model.events
        for user in USERS:
            known = self.service.get_consent(ConsentRequest(user_id=user)).status
            assert known == (self.model.consent(user, None) or "unknown")

    def teardown(self) -> None:
        """Metrics, from rollups and from events alone, count what is there."""
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

    def _send(self, session: str, user: str | None, batch: list[tuple[int, datetime]], plain: bool) -> None:
        listed: list[dict[str, Any]] = [
            {"id": str(uuid.UUID(int=number)), "eventType": "t", "timestamp": at.isoformat()} for number, at in batch
        ]
        result = self.service.save_events(user, session, listed if plain else [*listed, {}])
        became = [event.get("reason", event["status"]) for event in result["events"]][: len(batch)]
        assert became == self.model.ingest(session, user, batch)


@pytest.fixture(scope="module")
def people(postgres: Cluster) -> Iterator[type[People]]:
    with ExitStack() as stack:
        url = stack.enter_context(postgres.database())
        People.connection = stack.enter_context(psycopg.connect(url, autocommit=True))
        People.database = Database(Settings(database_url=url))
        stack.callback(People.database.close)
        yield People


@pytest.mark.parametrize("half", [1, 2])
def test_every_history_is_as_the_model_says(people: type[People], half: int) -> None:
    run_state_machine_as_test(
        people,
        settings=settings(
            max_examples=HISTORIES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
