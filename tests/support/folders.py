"""Temporary folders that a database server of any user may use."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_folder(*, in_memory: bool = False) -> Iterator[Path]:
    """A folder that every user may enter, in memory if asked for and if the machine allows it."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    with tempfile.TemporaryDirectory(
        prefix="muster-test-", dir=memory if in_memory and memory.is_dir() else None
    ) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
