"""AWS's services over HTTP, from moto: a queue for batches and a secret for the database's login."""

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

REGION = "us-east-1"
KEY = "testing"
# A failed message comes back after this time.
VISIBILITY_SECONDS = "1"


@dataclass(frozen=True)
class AwsServices:
    """A server of AWS's API."""

    url: str
    sqs: Any
    secrets: Any
    queue_url: str
    secret: str = field(default_factory=lambda: f"database-{uuid.uuid4()}")
    """The name of the secret."""

    def count_messages(self) -> int:
        """The messages in the queue, including those that the consumer is storing."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=list(names))["Attributes"]
        return sum(int(found[name]) for name in names)


@contextmanager
def aws_services() -> Iterator[AwsServices]:
    """A server with an empty queue and without the secret."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    # One request at a time: moto's queue is not safe for threads. Under load it failed with "Set changed size".
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False)
    thread = threading.Thread(target=server.serve_forever, name="aws", daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        sqs, secrets = _client("sqs", url), _client("secretsmanager", url)
        attributes = {"MaximumMessageSize": "1048576", "VisibilityTimeout": VISIBILITY_SECONDS}
        queue = sqs.create_queue(QueueName=f"muster-{uuid.uuid4()}", Attributes=attributes)
        yield AwsServices(url, sqs, secrets, str(queue["QueueUrl"]))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _client(name: str, url: str) -> Any:
    make: Any = boto3.client
    return make(name, endpoint_url=url, region_name=REGION, aws_access_key_id=KEY, aws_secret_access_key=KEY)
