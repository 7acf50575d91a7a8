"""The size of the layer, which each cold start loads."""

from pathlib import Path

MAX_BYTES = 60 * 1024 * 1024


def test_the_layer_stays_within_its_size_limit(build: Path) -> None:
    size = sum(path.stat().st_size for path in (build / "SharedLayer").rglob("*") if path.is_file())
    assert 1_000_000 < size <= MAX_BYTES
