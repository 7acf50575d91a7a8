"""One small change to a file that a test should notice."""

import difflib
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Mutant:
    """A file with one change."""

    path: str
    """Of the file, from the root of the repository."""
    operator: str
    original: str
    """The file's text."""
    text: str
    """The changed text."""

    @cached_property
    def line(self) -> int:
        """The number of the first changed line, from 1."""
        before, after = self.original.splitlines(), self.text.splitlines()
        pairs = zip(before, after, strict=False)
        return next((n for n, (a, b) in enumerate(pairs, 1) if a != b), min(len(before), len(after)))

    @cached_property
    def changed(self) -> tuple[str, ...]:
        """The lines that go with "-" and the lines that come with "+", without their indentation."""
        lines = difflib.unified_diff(self.original.splitlines(), self.text.splitlines(), n=0, lineterm="")
        return tuple(line[0] + " " + line[1:].strip() for line in lines if not line.startswith(("---", "+++", "@@")))
