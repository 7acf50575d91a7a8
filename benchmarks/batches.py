"""Batches as an app would send them: about 310 bytes of JSON an event, of one session, ids at random."""

import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

TYPES = {
    "page_view": 30,
    "click": 25,
    "scroll": 15,
    "video_play": 8,
    "quiz_answer": 8,
    "video_pause": 6,
    "search": 6,
    "error": 2,
}
AREAS = ("home", "course", "exam", "profile", "admin", "player")
WORDS = [
    "lesson",
    "exercise",
    "answer",
    "question",
    "chapter",
    "video",
    "lecture",
    "summary",
    "reading",
    "example",
    "practice",
    "review",
    "progress",
    "result",
    "course",
    "module",
    "certificate",
]
USERS = 20_000


def make_batch(chance: random.Random, size: int, started_at: datetime, session_id: str | None = None) -> dict[str, Any]:
    """A batch of `size` events, 37 ms apart."""
    return {
        "sessionId": session_id or new_id(chance),
        "userId": f"user-{chance.randrange(USERS):05d}",
        "events": [make_event(chance, started_at + timedelta(milliseconds=37 * number)) for number in range(size)],
    }


def make_batches(seed: int, size: int, count: int, *, a_session: int = 4) -> list[dict[str, Any]]:
    """Batches of this moment, so many to a session, which come one among another."""
    chance = random.Random(seed)
    sessions = [new_id(chance) for _ in range(-(-count // a_session))] * a_session
    chance.shuffle(sessions)
    now = datetime.now(UTC)
    return [
        make_batch(chance, size, now + timedelta(milliseconds=number), session)
        for number, session in enumerate(sessions[:count])
    ]


def make_event(chance: random.Random, occurred_at: datetime) -> dict[str, Any]:
    """An event with values of the usual kinds."""
    return {
        "id": new_id(chance),
        "eventType": chance.choices(list(TYPES), weights=list(TYPES.values()))[0],
        "area": chance.choice(AREAS),
        "timestamp": occurred_at.isoformat(timespec="milliseconds"),
        "data": {
            "page": f"/course/{chance.randrange(50)}/lesson/{chance.randrange(400)}",
            "button": chance.choice(WORDS),
            "label": " ".join(chance.choices(WORDS, k=chance.randrange(4, 16))),
            "x": chance.randrange(1920),
            "y": chance.randrange(1080),
            "ok": True,
            "ms": round(chance.random() * 1000, 3),
        },
    }


def new_id(chance: random.Random) -> str:
    """A random UUID's text."""
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))
