"""What the models of answers have in common.

They are msgspec's: importing pydantic would cost a cold start as much as all that a route does.
"""

from collections.abc import Mapping
from typing import Any, Self

import msgspec


class WireModel(msgspec.Struct, rename="camel"):
    """A model that is camelCase on the wire and snake_case here."""

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> Self:
        """From JSON of the database, whose names are those here and whose times are texts."""
        return msgspec.convert({each.encode_name: answer[each.name] for each in msgspec.structs.fields(cls)}, cls)
