"""The outcome of each of events/*.json."""

import base64
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """The parts of a response that are the same in every run."""

    status: Any
    said: Any = None

    @classmethod
    def of(cls, answer: dict[str, Any]) -> "Outcome":
        """The outcome in a function's response."""
        if "statusCode" not in answer:
            return cls(answer.get("status"), answer.get("batchItemFailures"))
        content = answer["body"]
        body = json.loads(base64.b64decode(content) if answer.get("isBase64Encoded") else content)
        if "error" in body:
            return cls(answer["statusCode"], body["error"]["code"])
        if "received" in body:
            names = ("accepted", "duplicates", "rejected", "ignored")
            return cls(answer["statusCode"], {name: body[name] for name in names if body[name]})
        return cls(answer["statusCode"], body.get("status"))


OUTCOMES: dict[str, Outcome] = {
    "ingest-batch": Outcome(200, {"accepted": 2}),
    "ingest-gzip": Outcome(200, {"accepted": 2}),
    "ingest-beacon": Outcome(200, {"accepted": 2}),
    "ingest-one-bad-event": Outcome(200, {"accepted": 1, "rejected": 1}),
    "ingest-too-old": Outcome(200, {"rejected": 1}),
    "ingest-not-json": Outcome(400, "invalid_json"),
    "ingest-no-key": Outcome(401, "missing_key"),
    "ingest-read-key": Outcome(403, "key_not_allowed"),
    "session-put": Outcome(200),
    "session-get-unknown": Outcome(404, "not_found"),
    "consent-put": Outcome(200, "granted"),
    "consent-get": Outcome(200, "unknown"),
    "consent-subject": Outcome(200),
    "consent-erase": Outcome(200),
    "pilot-issue": Outcome(201),
    "pilot-redeem-unknown": Outcome(404, "token_not_found"),
    "metrics-all": Outcome(200),
    "metrics-funnel": Outcome(200),
    "metrics-bad-parameter": Outcome(400, "invalid_parameter"),
    "diagnostics": Outcome(200, "ok"),
    "diagnostics-healthz": Outcome(200, "ok"),
    "web-description": Outcome(200),
    "consume-foreign-message": Outcome(None, [{"itemIdentifier": "19dd0b57-b21e-4ac1-bd88-01bbb068cb78"}]),
    "consume-unknown-key": Outcome(None, []),
    "maintain-hourly": Outcome("ok"),
    "maintain-roll-up": Outcome("ok"),
    "maintain-retention": Outcome("ok"),
    "maintain-retention-dry-run": Outcome("ok"),
    "migrate": Outcome("ok"),
    "migrate-verify": Outcome("ok"),
    "migrate-create-project": Outcome("ok"),
}
# The invocation fails with this message.
FAILURES = {"migrate-unknown-action": "Unknown action"}
