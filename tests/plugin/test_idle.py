"""Installed and unused, the plugin costs nothing and says nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]

HEAVY = ("httpx", "httpx2", "respx", "pydantic", "genai_prices", "asyncio", "decimal")


def test_the_plugin_module_imports_the_standard_library_and_pytest_only() -> None:
    """Loading it brings in nothing else, neither ours nor anybody's."""
    code = (
        "import sys, json, pytest; before = set(sys.modules); "
        "import pytest_modelroute.plugin, pytest_modelroute.fixtures; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {"pytest_modelroute", "pytest_modelroute.plugin", "pytest_modelroute.fixtures", "pytest_modelroute.options"}
    assert {name for name in json.loads(done.stdout) if name.partition(".")[0] not in sys.stdlib_module_names} == ours


def test_a_run_that_does_not_use_it_loads_nothing_heavy(pytester: pytest.Pytester, run: Run) -> None:
    """Neither collection nor the summary import a client, a model library or a price table."""
    pytester.makeconftest(
        f"""
        import sys

        before = set(sys.modules)

        def pytest_unconfigure():
            print("LOADED", sorted(set({HEAVY!r}) & (set(sys.modules) - before)))
        """
    )
    pytester.makepyfile("def test_nothing():\n    pass\n")
    run("-s", inprocess=False).stdout.fnmatch_lines(["*LOADED []*"])


def test_a_run_that_does_not_use_it_loads_four_modules_of_ours(pytester: pytest.Pytester, run: Run) -> None:
    """The hooks, the options, the fixtures, and the search for settings."""
    pytester.makeconftest(
        """
        import sys

        def pytest_unconfigure():
            print("LOADED", *sorted(name for name in sys.modules if name.startswith("pytest_modelroute.")))
        """
    )
    pytester.makepyfile("def test_nothing():\n    pass\n")
    run("-s", inprocess=False).stdout.fnmatch_lines(["*LOADED *.discovery *.fixtures *.options *.plugin"])


def test_a_run_that_does_not_use_it_prints_nothing(pytester: pytest.Pytester, run: Run) -> None:
    """The output is the same as without the plugin."""
    pytester.makepyfile("def test_nothing():\n    pass\n")

    def lines(*options: str) -> list[str]:
        output = run("-q", *options, inprocess=False).stdout.lines
        return [line.partition(" in ")[0] for line in output]

    assert lines() == lines("-p", "no:modelroute")
