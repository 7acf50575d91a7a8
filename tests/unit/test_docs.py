"""The pages name only files, commands and links that there are."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
# A folder or file of the repository's top level begins a path. What is in angle brackets or capitals stands for a name.
_TOP = "functions|layers|migrations|local|web|tests|benchmarks|docs|events"
_PATH = re.compile(rf"(?<![\w./-])(?:{_TOP})/[\w./-]*(?![\w<*=])|(?<![\w./-])[\w-]+\.(?:md|toml|yaml)\b")
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")
_PACKAGE = re.compile(r"(?<![\w/])(?:api|auth|db|diagnostics|http|ingest|metrics|platform|validation)/\w+\.py\b")
_MODULE = re.compile(r"\bmuster\.(?!q\.)[a-z]+(?:\.[a-z_]+)+\b")  # the browser client's muster.q is none
_SQL_NAME = re.compile(r"\bmuster\.[a-z_]+[a-z]\b(?![.*])")
_TARGET = re.compile(r"\bmake ([a-z][a-z-]*)\b")
# Made in the build, or in the recipes of CONTRIBUTING.md, which have a test of their own.
MADE = re.compile(r"browsers|get_collation|collation\.py|checks\.collation|count_referred_sessions|get_browsers|NNNN")


def each(pages: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=lambda page: str(page.relative_to(ROOT)))


@each(PAGES)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    named = {name.rstrip("./") for name in _PATH.findall(text)}
    missing = {name for name in named if not MADE.search(name) and not _exists(page, name)}
    missing |= {name for name in _PACKAGE.findall(text) if not (ROOT / "layers/shared/muster" / name).exists()}
    assert missing == set()


@each(PAGES)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = {link for link in _LINK.findall(page.read_text("utf-8")) if "://" not in link}
    assert {link for link in links if not (page.parent / link).exists()} == set()


@each(PAGES)
def test_every_module_that_a_page_names_exists(page: Path) -> None:
    modules = {name for name in _MODULE.findall(page.read_text("utf-8")) if not MADE.search(name)}
    package = ROOT / "layers" / "shared"
    assert {name for name in modules if not _is_module(package, name)} == set()


@each(PAGES)
def test_every_command_that_a_page_names_is_a_target_of_make(page: Path) -> None:
    text = page.read_text("utf-8")
    blocks, rest = re.findall(r"```sh\n(.*?)```", text, re.DOTALL), re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    named = {target for code in (*blocks, *re.findall(r"`([^`]+)`", rest)) for target in _TARGET.findall(code)}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert named - targets == set()


@each([ROOT / "docs" / name for name in ("operations.md", "runbook.md", "architecture.md")])
def test_every_table_and_sql_function_that_a_page_names_is_created(page: Path) -> None:
    created = "\n".join(file.read_text("utf-8") for file in (ROOT / "migrations").rglob("*.sql"))
    text = re.sub(
        r"(?:layers|migrations)/\S+|muster\.(?:sql|log|metrics\.\S+)|'muster\.\w+\*'", "", page.read_text("utf-8")
    )
    assert {name for name in _SQL_NAME.findall(text) if not re.search(rf"{re.escape(name)}\b", created)} == set()


def _exists(page: Path, name: str) -> bool:
    return (ROOT / name).exists() or (page.parent / name).exists()


def _is_module(package: Path, name: str) -> bool:
    """Whether a dotted name is a package, a module, or a function of one."""
    path = package.joinpath(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    module = path.parent.with_suffix(".py")
    return module.exists() and f"def {path.name}(" in module.read_text("utf-8")
