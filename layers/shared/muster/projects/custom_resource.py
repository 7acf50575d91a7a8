"""Implements CloudFormation's custom resource protocol, so that a stack deploys only if its tables are created."""

import json
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from muster.platform.errors import MusterError
from muster.platform.logging import log

TIMEOUT_SECONDS = 10.0
# CloudFormation limits the response to 4 KB.
MAX_REASON = 1_000


def is_custom_resource(event: Mapping[str, Any]) -> bool:
    """Whether CloudFormation sent this event."""
    return "RequestType" in event and "ResponseURL" in event


def answer_custom_resource(event: Mapping[str, Any], work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do the work on create and update, nothing on delete, and send CloudFormation the result.

    Any exception is sent as the reason of the failure: without a response, the stack would wait for an hour.
    """
    status, reason, data = "SUCCESS", "", dict[str, Any]()
    # Deleting a stack deletes no data. The database has its own deletion protection.
    if event["RequestType"] != "Delete":
        try:
            result = work()
        except Exception as error:  # sent to CloudFormation and logged
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
    return f"{type(error).__name__}. Read the log group of the function migrate."


def _unverified(result: Mapping[str, Any]) -> str:
    faults = [difference for difference in result["differences"] if difference["problem"] != "unexpected"]
    first = " ".join(difference["summary"] for difference in faults[:3])
    return f"The schema differs from the migrations: {first} Run the action verify to see all differences and remedies."


def _send(url: str, body: Mapping[str, Any]) -> None:
    # The URL is signed for a request without a content type.
    request = urllib.request.Request(  # noqa: S310 - CloudFormation gives the URL
        url, data=json.dumps(body).encode(), method="PUT", headers={"content-type": ""}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310 - as above
        pass
