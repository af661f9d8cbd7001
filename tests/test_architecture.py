"""Who may import whom, and what the package offers."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_modelroute

PACKAGE = Path(pytest_modelroute.__file__).parent
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "providers": {"errors"},
    "wire": {"errors", "providers"},
    "cassettes": {"errors", "providers", "wire"},
    "evaluation": {"errors", "wire"},
    "tables": {"errors"},
    "step_models": set(),
    "config": {"errors", "tables", "step_models", "providers", "evaluation"},
    "discovery": {"errors", "tables", "config"},
    "scenarios": {"errors", "providers", "faults", "invariants", "router", "config"},
    "router": {"errors", "providers", "config"},
    "invariants": {"errors", "providers", "wire", "evaluation", "faults"},
    "lawrun": {"errors", "config", "invariants"},
    "report": {"errors", "evaluation", "wire", "cassettes"},
    "testrun": {"errors", "providers", "wire", "cassettes", "evaluation", "config", "report"},
    "faults": {"wire"},
    "recording": {
        "errors",
        "providers",
        "wire",
        "cassettes",
        "evaluation",
        "discovery",
        "config",
        "testrun",
        "fixtures",
        "options",
    },
    "options": set(),
    "cli": {
        "errors",
        "discovery",
        "config",
        "cassettes",
        "evaluation",
        "router",
        "report",
        "wire",
        "invariants",
        "lawrun",
    },
    "plugin": {
        "options",
        "errors",
        "discovery",
        "evaluation",
        "testrun",
        "report",
        "fixtures",
        "cassettes",
        "recording",
    },
    "fixtures": {
        "recording",
        "errors",
        "discovery",
        "evaluation",
        "testrun",
        "lawrun",
        "report",
        "wire",
        "cassettes",
        "scenarios",
    },
}
"Room -> the rooms it may import, also in function bodies and for types alone."
ON_THE_GROUND = ("evaluation.statistics", "evaluation.thresholds", "evaluation.routes")
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def imports_of(path: Path) -> Iterator[str]:
    """The full names of what a module imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path}: relative import"
            yield node.module


def rooms_of(path: Path) -> set[str]:
    """The rooms of ours that a module imports."""
    ours = (name.split(".") for name in imports_of(path) if name.startswith("pytest_modelroute."))
    return {parts[1] for parts in ours}


def room(path: Path) -> str:
    """The room of a module."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_its_room_may(path: Path) -> None:
    """The import graph follows the table of rooms."""
    if room(path) != "__init__":
        assert rooms_of(path) - {room(path)} <= ALLOWED[room(path)]


@pytest.mark.parametrize("name", ON_THE_GROUND)
def test_what_stands_on_the_ground_imports_errors_alone(name: str) -> None:
    """Statistics, thresholds and routes can be read, and used, by themselves."""
    assert rooms_of(PACKAGE.joinpath(*name.split(".")).with_suffix(".py")) <= {"errors"}


def test_only_the_plugin_and_the_fixtures_import_pytest() -> None:
    """The core returns a verdict or raises an error of ours; pytest stays outside."""
    importers = {room(path) for path in MODULES if "pytest" in {name.split(".")[0] for name in imports_of(path)}}
    assert importers == {"plugin", "options", "fixtures", "recording"}


def test_the_table_of_rooms_is_that_of_the_document() -> None:
    """ARCHITECTURE.md names every room and what it may import."""
    document = (PACKAGE.parent / "ARCHITECTURE.md") if (PACKAGE.parent / "ARCHITECTURE.md").exists() else None
    document = document or Path(__file__).parent.parent / "ARCHITECTURE.md"
    rows = re.findall(r"^\| (`.*?) \|.*\| (.*?) \|$", document.read_text("utf-8"), re.MULTILINE)
    written: dict[str, str] = {}
    for names, imports in rows:
        for name in re.findall(r"`([\w]+)(?:/|\.py)`", names):
            written[name] = imports
    assert set(written) == set(ALLOWED)
    for name in (
        "errors",
        "providers",
        "wire",
        "evaluation",
        "tables",
        "discovery",
        "config",
        "router",
        "report",
        "faults",
    ):
        assert set(re.findall(r"\w+", written[name])) - {"nothing"} == ALLOWED[name]


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    """400 lines a module, 200 for the plugin."""
    lengths = {path.name: len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
    assert lengths["plugin.py"] < 200


@pytest.mark.parametrize("name", pytest_modelroute.__all__)
def test_every_public_name_loads(name: str) -> None:
    """A name of `__all__` is found at its home, and documented there."""
    assert getattr(pytest_modelroute, name).__doc__


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    """The lazy loading looks like any other module's."""
    with pytest.raises(AttributeError, match="module 'pytest_modelroute' has no attribute 'Nonsense'"):
        _ = pytest_modelroute.Nonsense


def test_the_version_is_that_of_the_distribution() -> None:
    """`pytest_modelroute.__version__` is read where pip keeps it."""
    from importlib.metadata import version

    assert pytest_modelroute.__version__ == version("pytest-modelroute")


def test_the_public_faults_are_those_of_the_wire() -> None:
    """`pytest_modelroute.faults` offers every fault that exists."""
    public = importlib.import_module("pytest_modelroute.faults")
    home = importlib.import_module("pytest_modelroute.wire.faults")
    makers = {
        name for name, value in vars(home).items() if getattr(value, "__annotations__", {}).get("return") == "Fault"
    }
    assert set(public.__all__) == {*makers, "Fault"}
