"""Reads the parameters of a path and of a query string, and names the one that cannot be used."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin
from uuid import UUID

import msgspec
from msgspec import Meta

from muster.http.request import Request
from muster.platform.errors import InvalidParameter
from muster.validation.limits import MAX_INT4, UUID_PATTERN

MAX_LIMIT = 1_000
DEFAULT_LIMIT = 100
DATA = "data."
_TIME = re.compile(r"^(\d{4})-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)$")
_DAY = re.compile(r"^(\d{4})-\d\d-\d\d$")
_FIRST_YEAR, _LAST_YEAR = 1970, 2200
# A plus sign that was not percent-encoded arrives as a space.
_SPACE_FOR_PLUS = re.compile(r"(T[\d:.]+) (\d\d(:?\d\d)?)$")

PageLimit = Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="The most rows of a page.")]
PageCursor = Annotated[str | None, Meta(description="The nextCursor of the page before.")]


class QueryModel(msgspec.Struct, frozen=True, rename="camel"):
    """A query string. Each field is one parameter: its type, allowed values, default and description.

    A field's type is str, int (with bounds in Meta), UUID, a Literal, or datetime | date (a time with an offset, or a
    day); each may be None too. A tuple of one of these is a parameter that may be sent several times. A mapping named
    `data` takes the parameters data.<key>, each with all of its values.
    """


M = TypeVar("M", bound=QueryModel)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter, as a field of a QueryModel declares it."""

    name: str
    """As in the query string."""
    field: str
    kind: type
    """str, int, UUID or datetime; dict for data.<key>."""
    choices: tuple[str, ...]
    """The allowed values; empty where any is."""
    is_repeated: bool
    meta: Meta
    default: object


def read_query(query: Mapping[str, Sequence[str]], model: type[M]) -> M:
    """The model that a query string is; `query` has all values of each parameter by its name.

    Raises:
        InvalidParameter: it names the first parameter that cannot be used.
    """
    parameters = parameters_of(model)
    _check_names(query, parameters)
    values = {parameter.field: _read(query, parameter) for parameter in parameters if _is_sent(query, parameter)}
    return model(**values)


@cache
def parameters_of(model: type[QueryModel]) -> tuple[Parameter, ...]:
    """The parameters that a model declares, in the order of its fields."""
    return tuple(_parameter(field) for field in msgspec.structs.fields(model))


def uuid_of(name: str, text: str) -> UUID:
    """The UUID that a text is.

    Raises:
        InvalidParameter: it is none; the error names the parameter `name`.
    """
    if re.fullmatch(UUID_PATTERN, text):
        return UUID(text)
    raise InvalidParameter(name, "Send a UUID, such as 3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11.")


def _parameter(field: msgspec.structs.FieldInfo) -> Parameter:
    kind, meta = field.type, Meta()
    if get_origin(kind) is Annotated:
        kind, meta = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        # A time or a day is one kind of text, which the first of its types names.
        kind = next(each for each in get_args(kind) if each is not NoneType)
    is_repeated = get_origin(kind) is tuple
    if is_repeated:
        kind = get_args(kind)[0]
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    if get_origin(kind) is Mapping:
        kind = dict
    default = None if field.default is msgspec.NODEFAULT else field.default
    return Parameter(field.encode_name, field.name, str if choices else kind, choices, is_repeated, meta, default)


def _check_names(query: Mapping[str, Sequence[str]], parameters: Sequence[Parameter]) -> None:
    """Refuse parameters that the route does not have, and values that no parameter can have."""
    known = [f"{DATA}<key>" if parameter.kind is dict else parameter.name for parameter in parameters]
    takes_data = f"{DATA}<key>" in known
    for name, values in query.items():
        is_data = takes_data and name.startswith(DATA) and name != DATA
        if name not in known and not is_data:
            message = f"There is no such parameter. This route takes {', '.join(known)}."
            raise InvalidParameter(name[:100], message)
        if any("\0" in text for text in (name, *values)):
            message = "No stored value holds the character U+0000; leave it out."
            raise InvalidParameter(name.replace("\0", "\ufffd")[:100], message)
        if "" in values and not is_data:
            raise InvalidParameter(name, "It is empty; send a value or leave it out.")


def _is_sent(query: Mapping[str, Sequence[str]], parameter: Parameter) -> bool:
    return parameter.name in query or parameter.kind is dict


def _read(query: Mapping[str, Sequence[str]], parameter: Parameter) -> object:
    if parameter.kind is dict:
        return {name.removeprefix(DATA): tuple(query[name]) for name in query if name.startswith(DATA)}
    values = query[parameter.name]
    if parameter.is_repeated:
        return tuple(_value(parameter, text) for text in values)
    if len(values) > 1:
        raise InvalidParameter(parameter.name, "Send it once.")
    return _value(parameter, values[0])


def _value(parameter: Parameter, text: str) -> object:
    if parameter.choices:
        if text not in parameter.choices:
            raise InvalidParameter(parameter.name, f"Send one of {', '.join(parameter.choices)}.")
        return text
    if parameter.kind is int:
        return _number(parameter, text)
    return _READERS[parameter.kind](parameter.name, text)


def _number(parameter: Parameter, text: str) -> int:
    least, most = int(parameter.meta.ge or 0), int(parameter.meta.le or MAX_INT4)
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise InvalidParameter(parameter.name, f"Send a number from {least} to {most}.")
    return int(text)


def _text(_: str, text: str) -> str:
    return text


def _time(name: str, text: str) -> datetime | date:
    text = _SPACE_FOR_PLUS.sub(r"\1+\2", text)
    form = _TIME.match(text) or _DAY.match(text)
    try:
        if form is not None and _FIRST_YEAR <= int(form[1]) <= _LAST_YEAR:
            return date.fromisoformat(text) if _DAY.match(text) else datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidParameter(name, "There is no such time.") from error
    message = "Send a time with an offset, such as 2026-05-17T10:05:03Z, or a day, such as 2026-05-17, after 1970."
    raise InvalidParameter(name, message)


_READERS: Mapping[type, Callable[[str, str], Any]] = {str: _text, UUID: uuid_of, datetime: _time}


def text_in_path(request: Request) -> str:
    """The path's one parameter."""
    ((_, text),) = request.path_parameters.items()
    return text


def uuid_in_path(request: Request) -> UUID:
    """The path's one parameter, a UUID.

    Raises:
        InvalidParameter: it is no UUID.
    """
    ((name, text),) = request.path_parameters.items()
    return uuid_of(name, text)
