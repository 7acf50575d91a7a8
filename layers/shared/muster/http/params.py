"""Reads path and query parameters, and names the one that is invalid."""

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
_TIME = re.compile(r"^(\d{4})-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)\Z")
_DAY = re.compile(r"^(\d{4})-\d\d-\d\d\Z")
_FIRST_YEAR, _LAST_YEAR = 1970, 2200
# In a query string, an unencoded plus sign means a space.
_SPACE_FOR_PLUS = re.compile(r"(T[\d:.]+) (\d\d(:?\d\d)?)\Z")

PageLimit = Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="The maximum number of rows on a page.")]
PageCursor = Annotated[str | None, Meta(description="The nextCursor of the previous page.")]


class QueryModel(msgspec.Struct, frozen=True, rename="camel"):
    """A query string. Each field is one parameter: its type, allowed values, default and description.

    A field's type is str, int (with bounds in Meta), UUID, a Literal, or datetime | date (a time with an offset, or a
    day); each may also be None. A tuple of one of these is a parameter that may be repeated. A mapping named `data`
    holds the parameters data.<key>, each with all of its values.
    """


M = TypeVar("M", bound=QueryModel)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that a field of a QueryModel declares."""

    name: str
    """The name in the query string."""
    field: str
    kind: type
    """str, int, UUID or datetime; dict for data.<key>."""
    choices: tuple[str, ...]
    """The allowed values; empty if any value is allowed."""
    is_repeated: bool
    meta: Meta
    default: object


def read_query(query: Mapping[str, Sequence[str]], model: type[M]) -> M:
    """Read a query string into a model; `query` maps each parameter name to its values.

    Raises:
        InvalidParameter: names the first invalid parameter.
    """
    parameters = parameters_of(model)
    _check_names(query, parameters)
    values = {parameter.field: _read(query, parameter) for parameter in parameters if _is_sent(query, parameter)}
    return model(**values)


@cache
def parameters_of(model: type[QueryModel]) -> tuple[Parameter, ...]:
    """The parameters of a model, in the order of its fields."""
    return tuple(_parameter(field) for field in msgspec.structs.fields(model))


def uuid_of(name: str, text: str) -> UUID:
    """Parse a UUID.

    Raises:
        InvalidParameter: the text is not a UUID; the error names the parameter `name`.
    """
    if re.fullmatch(UUID_PATTERN, text):
        return UUID(text)
    raise InvalidParameter(name, "Send a UUID, such as 3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11.")


def _parameter(field: msgspec.structs.FieldInfo) -> Parameter:
    kind, meta = field.type, Meta()
    if get_origin(kind) is Annotated:
        kind, meta = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        # `datetime | date` is one kind of parameter; its first type stands for it.
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
    """Refuse unknown parameters, and values that no parameter may have."""
    known = [f"{DATA}<key>" if parameter.kind is dict else parameter.name for parameter in parameters]
    takes_data = f"{DATA}<key>" in known
    for name, values in query.items():
        is_data = takes_data and name.startswith(DATA) and name != DATA
        if name not in known and not is_data:
            message = f"This parameter is unknown. The route accepts {', '.join(known)}."
            raise InvalidParameter(name[:100], message)
        if any("\0" in text for text in (name, *values)):
            message = "Stored values never have the character U+0000; leave it out."
            raise InvalidParameter(name.replace("\0", "\ufffd")[:100], message)
        if "" in values and not is_data:
            raise InvalidParameter(name, "The value is empty. Send a value, or leave the parameter out.")


def _is_sent(query: Mapping[str, Sequence[str]], parameter: Parameter) -> bool:
    return parameter.name in query or parameter.kind is dict


def _read(query: Mapping[str, Sequence[str]], parameter: Parameter) -> object:
    if parameter.kind is dict:
        return {name.removeprefix(DATA): tuple(query[name]) for name in query if name.startswith(DATA)}
    values = query[parameter.name]
    if parameter.is_repeated:
        return tuple(_value(parameter, text) for text in values)
    if len(values) > 1:
        raise InvalidParameter(parameter.name, "Send this parameter only once.")
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
        raise InvalidParameter(parameter.name, f"Send a whole number from {least} to {most}.")
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
        raise InvalidParameter(name, "This time does not exist.") from error
    message = (
        f"Send a time with an offset, such as 2026-05-17T10:05:03Z, or a day, such as 2026-05-17, from {_FIRST_YEAR} "
        f"to {_LAST_YEAR}."
    )
    raise InvalidParameter(name, message)


_READERS: Mapping[type, Callable[[str, str], Any]] = {str: _text, UUID: uuid_of, datetime: _time}


def text_in_path(request: Request) -> str:
    """The only path parameter."""
    ((_, text),) = request.path_parameters.items()
    return text


def uuid_in_path(request: Request) -> UUID:
    """The only path parameter, a UUID.

    Raises:
        InvalidParameter: it is not a UUID.
    """
    ((name, text),) = request.path_parameters.items()
    return uuid_of(name, text)
