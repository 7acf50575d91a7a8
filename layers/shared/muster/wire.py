"""What the models of answers have in common.

They are msgspec's: pydantic, which the schema of what clients send is made of, costs a cold start as much as all that a
route of answers does.
"""

import msgspec


class WireModel(msgspec.Struct, rename="camel"):
    """A model that is camelCase on the wire and snake_case here."""
