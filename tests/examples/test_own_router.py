"""The examples of routers of one's own: what CI runs in full elsewhere is collected here, and tried a little."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_router"
EXTRAS = {"litellm": "litellm", "pydantic_ai": "pydantic-ai", "langchain_openai": "langchain"}


def run_pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in the example's folder."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:anyio", *arguments]
    return subprocess.run(command, cwd=EXAMPLE, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["plain_openai", "two_providers", "our_router"])
def test_a_router_keeps_its_promises(name: str) -> None:
    """On few examples of two laws; CI runs the suites in full, with those of the libraries."""
    done = run_pytest(f"test_{name}.py", "--modelroute-profile", "quick", "-k", "totality or chain_order")
    assert done.returncode == pytest.ExitCode.OK, done.stdout


def test_each_router_has_a_suite_and_a_line_in_the_readme() -> None:
    """None is forgotten."""
    readme = (EXAMPLE / "README.md").read_text("utf-8")
    routers = [path.stem for path in EXAMPLE.glob("*.py") if not path.stem.startswith("test_")]
    assert len(routers) == 6
    for router in routers:
        assert (EXAMPLE / f"test_{router}.py").exists()
        assert f"`{router}.py`" in readme


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("pydantic_ai", "pydantic_ai_fallback"),
        ("langchain_openai", "langchain_fallbacks"),
        ("litellm", "litellm_router"),
    ],
)
def test_a_missing_library_is_a_skip_that_names_the_extra(module: str, name: str, tmp_path: Path) -> None:
    """Whether it is installed here or not."""
    (tmp_path / "without.py").write_text(f"import sys\nsys.modules[{module!r}] = None\n", "utf-8")
    done = run_pytest(
        "-p", "without", "-o", f"pythonpath={tmp_path} .", "-rs", "--modelroute-profile", "quick", f"test_{name}.py"
    )
    assert done.returncode in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}, done.stdout
    assert f"pip install 'pytest-modelroute[{EXTRAS[module]}]'" in done.stdout
