"""Access names the caller and raises the refusals of SQL functions."""

import uuid

import pytest

from muster.auth.keys import Access
from muster.auth.permissions import ADMINS
from muster.platform.errors import InvalidKey, KeyNotAllowed, SessionBelongsToAnotherUser


def test_a_project_is_known_only_after_the_key_was_looked_up() -> None:
    project_id = uuid.uuid4()
    assert Access(found_project_id=project_id).project_id == project_id
    with pytest.raises(LookupError, match="look_up"):
        _ = Access(key_hash=b"hash").project_id


@pytest.mark.parametrize("error", [InvalidKey, SessionBelongsToAnotherUser])
def test_a_refusal_raises_the_error_with_its_code(error: type[InvalidKey | SessionBelongsToAnotherUser]) -> None:
    with pytest.raises(error):
        Access().raise_if_refused({"refused": error.code})


def test_the_error_for_another_kind_of_key_names_the_allowed_kinds() -> None:
    with pytest.raises(KeyNotAllowed, match="kind admin"):
        Access(allowed=ADMINS).raise_if_refused({"refused": "key_not_allowed"})


def test_an_answer_without_a_refusal_raises_nothing() -> None:
    Access().raise_if_refused({"status": "granted"})
