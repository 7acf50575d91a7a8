"""Makes the demo data: a made-up pilot of an app for learning. The same seed gives the same data."""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

Event = dict[str, Any]

WEEKS = 5
TYPES = {"teacher": 14, "student": 44, "parent": 10}
DEVICES = ("tablet", "laptop", "phone")
LESSONS = ("fractions", "decimals", "ratios", "geometry", "statistics", "algebra")
_NAMESPACE = uuid.UUID("5b0d7c9e-2f1e-4a57-8d0c-0f4f7a1f6b2e")


@dataclass(frozen=True)
class Participant:
    """A participant of the pilot."""

    user_id: str
    type: str
    device: str
    joined: datetime
    activity: float
    """The probability of a session per day, in the first week."""


class DemoData:
    """The history of the pilot up to now."""

    def __init__(self, now: datetime, seed: int = 7) -> None:
        self._random = random.Random(seed)  # noqa: S311 - made-up people, no secrets
        self._now = now
        self._start = (now - timedelta(weeks=WEEKS)).replace(hour=0, minute=0, second=0, microsecond=0)
        self._ids = 0
        self.participants = [
            self._participant(kind, number) for kind, count in TYPES.items() for number in range(1, count + 1)
        ]

    def events(self) -> list[Event]:
        """All events up to now, ordered by time."""
        found = [event for person in self.participants for event in self._history(person)]
        found += [event for _ in range(160) for event in self._visit()]
        return sorted((event for event in found if event["timestamp"] <= self._now.isoformat()), key=_when)

    def session(self, person: Participant, start: datetime) -> Iterator[Event]:
        """One session of a participant: the app is opened, lessons follow, and some results are shared."""
        about = {"sessionId": self._id(), "userId": person.user_id}
        at = start

        def event(kind: str, area: str, seconds: float, **data: Any) -> Event:
            nonlocal at
            at += timedelta(seconds=self._random.expovariate(1 / seconds))
            return {
                "id": self._id(), **about, "eventType": kind, "area": area, "timestamp": at.isoformat(),
                "data": {"device": person.device, "participantType": person.type, **data},
            }  # fmt: skip

        yield event("app_opened", "home", 1)
        if person.type == "parent":
            yield event("progress_viewed", "reports", 20)
            return
        for _ in range(self._random.choice((0, 1, 1, 2, 3))):
            lesson = self._random.choice(LESSONS)
            yield event("lesson_opened", "lessons", 15, lesson=lesson)
            for question in range(1, self._random.randint(1, 6)):
                right = self._random.random() < 0.72  # noqa: PLR2004 - the share of right answers
                yield event("question_answered", "lessons", 40, lesson=lesson, question=question, right=right)
            if self._random.random() < 0.6:  # noqa: PLR2004 - not everyone finishes a lesson
                yield event("lesson_finished", "lessons", 30, lesson=lesson)
                if self._random.random() < 0.3:  # noqa: PLR2004 - some share their result
                    yield event("result_shared", "sharing", 12, lesson=lesson)
        if person.type == "teacher":
            yield event("class_viewed", "reports", 25)

    def random_session(self, when: datetime) -> list[Event]:
        """A session of a random participant that begins at `when`."""
        return list(self.session(self._random.choice(self.participants), when))

    def _participant(self, kind: str, number: int) -> Participant:
        joined = self._start + timedelta(
            days=min(self._random.expovariate(1 / 5), 25), hours=self._random.uniform(8, 18)
        )
        return Participant(
            f"{kind}-{number:02}", kind, self._random.choice(DEVICES), joined, self._random.betavariate(3, 2.4)
        )

    def _history(self, person: Participant) -> Iterator[Event]:
        yield from self.session(person, person.joined)
        day = person.joined.replace(hour=0, minute=0)
        while (day := day + timedelta(days=1)) < self._now:
            weeks = (day - person.joined) / timedelta(weeks=1)
            probability = person.activity * 0.86**weeks * (0.3 if day.weekday() > 4 else 1)  # noqa: PLR2004 - weekends are quiet
            for _ in range(3):
                if self._random.random() < probability:
                    hour = self._random.triangular(7, 21, 10)
                    yield from self.session(person, day + timedelta(hours=hour))
                probability /= 3

    def _visit(self) -> Iterator[Event]:
        """An anonymous visitor views the website of the pilot."""
        at = self._start + (self._now - self._start) * self._random.random()
        about = {"sessionId": self._id(), "area": "website"}
        data = {"device": self._random.choice(DEVICES)}
        yield {"id": self._id(), **about, "eventType": "page_viewed", "timestamp": at.isoformat(), "data": data}
        if self._random.random() < 0.25:  # noqa: PLR2004 - few read on
            later = (at + timedelta(seconds=45)).isoformat()
            yield {"id": self._id(), **about, "eventType": "signup_opened", "timestamp": later, "data": data}

    def _id(self) -> str:
        self._ids += 1
        return str(uuid.uuid5(_NAMESPACE, f"{self._start.isoformat()} {self._ids}"))


def invalid_events(now: datetime) -> list[Event]:
    """Events that the API rejects, for several reasons. The last ones are only too old."""
    session = {"sessionId": str(uuid.uuid5(_NAMESPACE, f"faulty {now.isoformat()}")), "area": "lessons"}
    at = (now - timedelta(hours=3)).isoformat()
    return [
        *({**session, "eventType": "lesson_opened", "timestamp": f"yesterday, {hour}:00"} for hour in range(8, 15)),
        *({**session, "timestamp": at, "data": {"attempt": attempt}} for attempt in range(4)),
        {**session, "eventType": "essay_saved", "timestamp": at, "data": {"text": "x" * 40_000}},
        *(
            {**session, "eventType": "lesson_opened", "timestamp": f"{now.year - 3}-0{month}-01T08:00:00Z"}
            for month in range(1, 6)
        ),
    ]


def bot_visit(now: datetime) -> dict[str, Any]:
    """A batch of a crawler, which the API ignores."""
    session, at = str(uuid.uuid4()), (now - timedelta(hours=5)).astimezone(UTC).isoformat()
    events = [{"eventType": "page_viewed", "area": "website", "timestamp": at}]
    return {"sessionId": session, "context": {"userAgent": "Googlebot/2.1"}, "events": events}


def _when(event: Event) -> str:
    return str(event["timestamp"])
