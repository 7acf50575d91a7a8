"""What a client may send: the forms of ids and times, and how much of what."""

UUID_PATTERN = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
# What both Python and PostgreSQL read, and read alike: PostgreSQL has no offset of 16 hours or more.
TIME_PATTERN = (
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?"
    "(Z|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)$"
)
MAX_EVENTS = 1_000
MAX_DATA_BYTES = 32 * 1024
MAX_CONTEXT_BYTES = 4 * 1024
MAX_DEPTH = 32
MAX_INT4 = 2**31 - 1


def whole(pattern: str) -> str:
    """The pattern for who searches with Python's re, whose $ is also before a line's end."""
    return pattern.replace("$", r"\Z")
