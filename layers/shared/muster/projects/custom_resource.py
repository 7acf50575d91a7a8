"""Speaks CloudFormation's protocol of custom resources: a stack comes up only when its tables are there."""

import json
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from muster.platform.errors import MusterError
from muster.platform.logging import log

TIMEOUT_SECONDS = 10.0
# CloudFormation takes 4 KB of answer; the sentence is what matters.
MAX_REASON = 1_000


def is_custom_resource(event: Mapping[str, Any]) -> bool:
    """Whether CloudFormation sent this event."""
    return "RequestType" in event and "ResponseURL" in event


def answer_custom_resource(event: Mapping[str, Any], work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do the work on create and update, nothing on delete, and tell CloudFormation how it went.

    Whatever is raised is told as the failure's reason: a stack that waits for an answer waits an hour.
    """
    status, reason, data = "SUCCESS", "", dict[str, Any]()
    # Deleting a stack never drops data; the database has its own protection.
    if event["RequestType"] != "Delete":
        try:
            result = work()
        except Exception as error:  # told to CloudFormation, and logged
            status, reason = "FAILED", _reason(error)
        else:
            data = {"Status": result["status"], "Applied": len(result["applied"])}
            if not result["verified"]:
                status, reason = "FAILED", _unverified(result)
    if status == "FAILED":
        log("ERROR", "migration_failed", request_type=event["RequestType"], reason=reason)
    body = {
        "Status": status,
        "Reason": reason[:MAX_REASON],
        "PhysicalResourceId": event.get("PhysicalResourceId") or "muster-schema",
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "Data": data,
    }
    _send(event["ResponseURL"], body)
    return body


def _reason(error: Exception) -> str:
    if isinstance(error, MusterError):
        return error.message
    return f"{type(error).__name__}: the log group of the function migrate says more."


def _unverified(result: Mapping[str, Any]) -> str:
    mended = [difference for difference in result["differences"] if difference["problem"] != "unexpected"]
    first = " ".join(difference["summary"] for difference in mended[:3])
    return f"The schema is not as the migrations make it: {first} The action verify names all, with their remedies."


def _send(url: str, body: Mapping[str, Any]) -> None:
    # Without a content type: the address was signed for none.
    request = urllib.request.Request(  # noqa: S310 - CloudFormation gives the address
        url, data=json.dumps(body).encode(), method="PUT", headers={"content-type": ""}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310 - as above
        pass
