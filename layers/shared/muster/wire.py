"""What the models of answers have in common.

They are msgspec's: importing pydantic would cost a cold start as much as all that a route does.
"""

import msgspec


class WireModel(msgspec.Struct, rename="camel"):
    """A model that is camelCase on the wire and snake_case here."""
