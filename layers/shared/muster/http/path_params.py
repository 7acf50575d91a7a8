"""Reads the one parameter of a path, for operations that take nothing else."""

from uuid import UUID

from muster.http.query_params import uuid_of
from muster.http.request import Request


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
