"""The template is valid, and `sam build` makes what Lambda needs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from local.paths import PROJECT
from local.sam.sam_cli import run_sam, uv_program
from local.sam.template import Template, load_template, parse_template

UNCHECKED_HASH = 0b01
"""The flags word of a .pyc that is never compared with its source."""


def test_every_function_is_built_with_its_handler_at_the_top(built: Template) -> None:
    assert set(built.functions) == set(load_template(PROJECT / "template.yaml").functions)
    for function in built.functions.values():
        module = function.handler.rpartition(".")[0]
        assert (function.source / f"{module}.py").is_file()


def test_each_source_folder_has_its_functions_name() -> None:
    for name, function in load_template(PROJECT / "template.yaml").functions.items():
        assert f"{function.source.name}function" == name.lower()


def test_the_migrate_function_finds_the_migrations(built: Template) -> None:
    folder = Path(built.functions["MigrateFunction"].environment["MIGRATIONS_DIR"])
    assert list(folder.glob("0001_*.sql"))


def test_the_layer_holds_muster_with_bytecode_that_ignores_file_dates(build: Path) -> None:
    packages = build / "SharedLayer" / "python"
    assert (packages / "muster" / "platform" / "settings.py").is_file()
    compiled = list(packages.glob("**/*.pyc"))
    assert len(compiled) > 100
    assert {int.from_bytes(path.read_bytes()[4:8], "little") for path in compiled} == {UNCHECKED_HASH}
    assert {path.name.split(".")[-2] for path in compiled} == {sys.implementation.cache_tag}


def test_the_layer_fits_lambda(build: Path) -> None:
    size = sum(path.stat().st_size for path in (build / "SharedLayer").glob("**/*") if path.is_file())
    assert size < 250 * 1024 * 1024


def test_the_build_does_not_need_the_target_interpreter(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("make", "sh", "cp", "find", "rm", "echo"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    # Some other interpreter there is, for uv; none that is named as the target's.
    (programs / "python3").symlink_to(Path(sys.executable).resolve())
    build = tmp_path / "build"
    arguments = ["build", "--no-cached", "--build-dir", str(build)]
    result = run_sam(*arguments, environment={"PATH": str(programs), "UV": uv_program()})
    assert result.returncode == 0, result.stdout
    assert "the layer has no bytecode" in result.stdout
    libraries = [path.name for path in build.glob("SharedLayer/**/_psycopg*.so")]
    assert libraries == ["_psycopg.cpython-313-aarch64-linux-gnu.so"]


def test_the_template_and_the_layers_makefile_default_to_the_same_target() -> None:
    template = parse_template(PROJECT / "template.yaml")
    makefile = (PROJECT / "layers" / "shared" / "Makefile").read_text("utf-8")
    assert f"ARCH ?= {template['Parameters']['Architecture']['Default']}\n" in makefile
    runtime = template["Globals"]["Function"]["Runtime"]
    assert f"PYTHON_VERSION ?= {runtime.removeprefix('python')}\n" in makefile


def test_an_unknown_architecture_is_refused_by_name(tmp_path: Path) -> None:
    environment = {**os.environ, "ARCH": "sparc", "ARTIFACTS_DIR": str(tmp_path)}
    result = subprocess.run(
        ["make", "build-SharedLayer"],
        cwd=PROJECT / "layers" / "shared",
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode != 0
    assert "ARCH is 'sparc'; it must be arm64 or x86_64" in result.stderr


def test_the_layers_requirements_match_the_lock_file() -> None:
    arguments = ["export", "--frozen", "--no-emit-project", "--no-default-groups", "--no-header", "--offline"]
    exported = subprocess.run(
        [uv_program(), *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=240, check=True
    )
    assert (PROJECT / "layers" / "shared" / "requirements.txt").read_text("utf-8") == exported.stdout
