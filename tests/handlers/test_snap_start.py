"""SnapStart: a restored environment has connected before its first request."""

import pytest
import snapshot_restore_py

from muster.api import app as api
from muster.api.routing import Routes
from tests.support.functions import Caller, a_batch


def restore() -> None:
    """What Lambda's runtime does when it restores a snapshot."""
    for hook, arguments, options in snapshot_restore_py.get_after_restore():
        hook(*arguments, **options)


def test_a_restored_environment_connects_again(post: Caller, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    handler = api.lambda_handler_for(Routes("Tests", []))
    assert callable(handler)
    before = api.database()
    restore()
    assert api.database() is not before
    assert api.database().connect_ms > 0
    assert post("POST /v1/events", a_batch()).status == 200


def test_without_a_database_at_restore_the_first_request_is_a_503(
    post: Caller, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    api.lambda_handler_for(Routes("Tests", []))
    environment.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    restore()
    assert post("POST /v1/events", a_batch()).status == 503
