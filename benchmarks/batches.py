"""Makes batches like those of an app: one session each, random ids, about 310 bytes of JSON per event."""

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


def make_batch(rng: random.Random, size: int, started_at: datetime, session_id: str | None = None) -> dict[str, Any]:
    """A batch of `size` events, 37 ms apart."""
    return {
        "sessionId": session_id or new_id(rng),
        "userId": f"user-{rng.randrange(USERS):05d}",
        "events": [make_event(rng, started_at + timedelta(milliseconds=37 * number)) for number in range(size)],
    }


def make_batches(seed: int, size: int, count: int, *, per_session: int = 4) -> list[dict[str, Any]]:
    """Batches of now, `per_session` to a session. The sessions are shuffled."""
    rng = random.Random(seed)
    sessions = [new_id(rng) for _ in range(-(-count // per_session))] * per_session
    rng.shuffle(sessions)
    now = datetime.now(UTC)
    return [
        make_batch(rng, size, now + timedelta(milliseconds=number), session)
        for number, session in enumerate(sessions[:count])
    ]


def make_event(rng: random.Random, occurred_at: datetime) -> dict[str, Any]:
    """An event with random values."""
    return {
        "id": new_id(rng),
        "eventType": rng.choices(list(TYPES), weights=list(TYPES.values()))[0],
        "area": rng.choice(AREAS),
        "timestamp": occurred_at.isoformat(timespec="milliseconds"),
        "data": {
            "page": f"/course/{rng.randrange(50)}/lesson/{rng.randrange(400)}",
            "button": rng.choice(WORDS),
            "label": " ".join(rng.choices(WORDS, k=rng.randrange(4, 16))),
            "x": rng.randrange(1920),
            "y": rng.randrange(1080),
            "ok": True,
            "ms": round(rng.random() * 1000, 3),
        },
    }


def new_id(rng: random.Random) -> str:
    """A random UUID as text."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
