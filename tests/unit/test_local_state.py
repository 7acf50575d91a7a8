"""The server and the keys that an import uses."""

import json
from pathlib import Path

import pytest

from local.state import NoTarget, Target, find_target

LOCAL = {"url": "http://127.0.0.1:3000", "databaseUrl": "", "keys": {"write": "mw_l", "read": "mr_l", "admin": "ma_l"}}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The file that `make run` writes."""
    written = tmp_path / "local.json"
    written.write_text(json.dumps(LOCAL))
    return written


def test_by_default_the_server_is_that_of_make_run(state: Path) -> None:
    expected = Target("http://127.0.0.1:3000", "ma_l", "mr_l")
    assert find_target(None, None, None, state=state) == expected
    assert find_target("http://127.0.0.1:3000/", None, None, state=state) == expected


def test_a_key_of_another_project_reads_its_own_metrics(state: Path) -> None:
    assert find_target(None, "ma_o", None, state=state) == Target("http://127.0.0.1:3000", "ma_o", "ma_o")


def test_another_server_is_never_shown_the_local_keys(state: Path) -> None:
    assert find_target("https://api.test", "ma_o", None, state=state) == Target("https://api.test", "ma_o", "ma_o")
    with pytest.raises(NoTarget, match="KEY="):
        find_target("https://api.test", None, None, state=state)


def test_without_a_server_it_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(NoTarget, match="make run"):
        find_target(None, None, None, state=tmp_path / "local.json")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": "http://127.0.0.1:3000"}'])
def test_a_damaged_state_file_is_reported_in_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "local.json").write_text(text)
    with pytest.raises(NoTarget, match=r"is damaged\. Remove it"):
        find_target(None, None, None, state=tmp_path / "local.json")


@pytest.mark.parametrize("url", ["127.0.0.1:3000", "localhost", "ftp://host", "http://", "http://host:port"])
def test_an_invalid_url_is_reported_before_anything_is_read(tmp_path: Path, url: str) -> None:
    with pytest.raises(NoTarget, match="is not the URL of a server"):
        find_target(url, "ma_x", None, state=tmp_path / "local.json")


@pytest.mark.parametrize("key", ["ma_\u00e9", "ma_x ma_y", "ma_x\n"])
def test_an_invalid_key_is_reported_without_repeating_it(tmp_path: Path, key: str) -> None:
    with pytest.raises(NoTarget, match="not a key") as refused:
        find_target("http://host", key, None, state=tmp_path / "local.json")
    assert key not in str(refused.value)
