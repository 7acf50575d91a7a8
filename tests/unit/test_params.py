"""A query string is read into a model, and an invalid parameter is named."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta

from muster.http.params import DEFAULT_LIMIT, PageLimit, QueryModel, read_query
from muster.platform.errors import InvalidParameter

ID = "3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11"


class Query(QueryModel, frozen=True):
    """One field of each kind."""

    limit: PageLimit = DEFAULT_LIMIT
    kind: Literal["a", "b"] | None = None
    start: Annotated[datetime | date | None, Meta(description="A time or a day.")] = None
    batch_id: UUID | None = None
    session_id: tuple[UUID, ...] = ()
    area: tuple[str, ...] = ()
    data: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)


class Narrow(QueryModel, frozen=True):
    """One parameter, and no data.<key>."""

    user_id: str | None = None


def test_a_missing_parameter_has_its_default() -> None:
    assert read_query({}, Query) == Query()


def test_each_value_has_the_type_of_its_field() -> None:
    sent = {
        "area": ["shop", "home"],
        "batchId": [ID],
        "data.plan": ["pilot", ""],
        "data.a.b": ["1"],
        "kind": ["b"],
        "limit": ["0007"],
        "sessionId": [ID, ID.upper()],
        "start": ["2026-05-17"],
    }
    assert read_query(sent, Query) == Query(
        area=("shop", "home"),
        batch_id=UUID(ID),
        data={"plan": ("pilot", ""), "a.b": ("1",)},
        kind="b",
        limit=7,
        session_id=(UUID(ID), UUID(ID)),
        start=date(2026, 5, 17),
    )


@pytest.mark.parametrize("text", ["2026-05-17T10:05:00+02:00", "2026-05-17T10:05:00 02:00"])
def test_a_plus_sign_that_arrives_as_a_space_is_read(text: str) -> None:
    assert read_query({"start": [text]}, Query).start == datetime(2026, 5, 17, 8, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sent", "name", "message"),
    [
        ({"nope": ["1"]}, "nope", "accepts limit, kind, start, batchId, sessionId, area, data.<key>."),
        ({"data.": ["1"]}, "data.", "This parameter is unknown."),
        ({"data": ["1"]}, "data", "This parameter is unknown."),
        ({"x" * 200: ["1"]}, "x" * 100, "This parameter is unknown."),
        ({"area": [""]}, "area", "The value is empty."),
        ({"area": ["a\0"]}, "area", "U+0000"),
        ({"data.a\0": ["1"]}, "data.a\ufffd", "U+0000"),
        ({"kind": ["a", "b"]}, "kind", "Send this parameter only once."),
        ({"kind": ["c"]}, "kind", "Send one of a, b."),
        *(({"limit": [text]}, "limit", "from 1 to 1000") for text in ("0", "1001", "00001", "-1", "1.0", "\uff11")),
        *(({name: ["7"]}, name, "Send a UUID") for name in ("batchId", "sessionId")),
        ({"start": ["2026-05-17T10:05:00"]}, "start", "Send a time with an offset"),
        ({"start": ["1969-12-31"]}, "start", "from 1970 to 2200"),
        ({"start": ["2026-02-30"]}, "start", "This time does not exist."),
        ({"start": ["2026-02-28\n"]}, "start", "Send a time with an offset, such as 2026-05-17T10:05:03Z, or a day"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(sent: Mapping[str, Sequence[str]], name: str, message: str) -> None:
    with pytest.raises(InvalidParameter) as error:
        read_query(sent, Query)
    (detail,) = error.value.details
    assert (detail["loc"], detail["type"]) == (["query", name], "invalid_parameter")
    assert message in detail["message"]


def test_a_route_without_data_filters_refuses_them() -> None:
    with pytest.raises(InvalidParameter, match="accepts userId"):
        read_query({"data.plan": ["pilot"]}, Narrow)
