"""Every block of the README and of docs/ runs, and every generated output is up to date."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCE = re.compile(r"(?:<!-- (?P<note>[^\n]*) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)```\n", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block, and the comment above it."""

    note: str
    language: str
    code: str


def blocks_of(document: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    return [
        Block(note=match["note"] or "", language=match["language"], code=match["code"])
        for match in _FENCE.finditer(document.read_text("utf-8"))
    ]


def load_generator() -> ModuleType:
    """The script that renews the outputs."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(pytester: pytest.Pytester) -> Path:
    """A folder in which the blocks of a document run."""
    pytester.makeini("[pytest]\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n")
    return pytester.path


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_python_block_passes(pytester: pytest.Pytester, folder: Path, document: Path) -> None:
    """The blocks of a document are test modules; they run with the settings that the document gives them."""
    tests = 0
    for number, block in enumerate(blocks_of(document)):
        if block.note.startswith("file: "):
            written = folder / block.note.removeprefix("file: ")
            written.parent.mkdir(exist_ok=True)
            written.write_text(block.code, "utf-8")
        elif block.language == "python" and not block.note.startswith("fails: "):
            tests += len(re.findall(r"^(?:(?:async )?def test_|class Test)", block.code, re.MULTILINE))
            (folder / f"test_block_{number}.py").write_text(block.code, "utf-8")
    plugins = ("-p", "no:respx", "-p", "no:randomly", "-p", "no:anyio")
    result = pytester.runpytest_subprocess(*plugins, "--modelroute-profile", "quick")
    assert result.ret == pytest.ExitCode.OK
    assert result.parseoutcomes()["passed"] >= tests > 0


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_block_that_is_shown_to_fail_fails(pytester: pytest.Pytester, folder: Path, document: Path) -> None:
    """A block that shows a failure fails with the words that its comment gives."""
    failing = [block for block in blocks_of(document) if block.note.startswith("fails: ")]
    for number, block in enumerate(failing):
        (folder / f"test_failing_{number}.py").write_text(block.code, "utf-8")
    if failing:
        result = pytester.runpytest_subprocess("-p", "no:respx", "-p", "no:randomly")
        assert result.parseoutcomes() == {"failed": len(failing)}
        result.stdout.fnmatch_lines([block.note.removeprefix("fails: ") for block in failing])


def test_every_toml_block_is_a_valid_settings_file(tmp_path: Path) -> None:
    """The settings that the documents show can be used."""
    from pytest_modelroute import Settings

    path = tmp_path / "modelroute.toml"
    blocks = [block for document in DOCUMENTS for block in blocks_of(document) if block.language == "toml"]
    for block in blocks:
        path.write_text(block.code, "utf-8")
        Settings.from_file(path)
    assert blocks


def test_the_error_that_the_settings_page_shows_is_the_one_that_is_raised(tmp_path: Path) -> None:
    """The page quotes a real message."""
    from pytest_modelroute import Settings
    from pytest_modelroute.errors import SettingsError

    path = tmp_path / "modelroute.toml"
    path.write_text('[models.small]\nmodel = "m"\nteir = "small"\n', "utf-8")
    with pytest.raises(SettingsError) as error:
        Settings.from_file(path)
    message = str(error.value).replace(str(path), "modelroute.toml")
    assert f"ERROR: {message}" in (ROOT / "docs" / "settings.md").read_text("utf-8")


WITH_OUTPUTS = [
    document
    for document in DOCUMENTS
    # The rows of the fault matrix are compared one by one, in tests/matrix.
    if "<!-- generated: " in document.read_text("utf-8")
]


@pytest.mark.parametrize("document", WITH_OUTPUTS, ids=lambda path: path.name)
def test_the_outputs_in_a_document_are_those_of_today(document: Path) -> None:
    """`python docs/generate.py` would change nothing."""
    text = document.read_text("utf-8")
    assert load_generator().render(text) == text


def test_documents_with_outputs_are_found() -> None:
    """The check above checks something."""
    assert {"README.md", "support-agent.md"} <= {document.name for document in WITH_OUTPUTS}


def test_the_two_commands_of_the_readme_are_what_ci_runs() -> None:
    """What the README tells a newcomer to type stands in .ci/run, word for word but for quiet flags."""
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    commands = [block.code.strip() for block in blocks_of(ROOT / "README.md") if block.language == "sh"]
    assert len(commands) == 2
    for command in commands:
        assert command in script


def test_every_limit_is_in_the_readme_and_in_the_marker(pytestconfig: pytest.Config) -> None:
    """A limit that exists is documented where users look."""
    from pytest_modelroute.evaluation.thresholds import LIMITS

    readme = (ROOT / "README.md").read_text("utf-8")
    marker = next(line for line in pytestconfig.getini("markers") if line.startswith("step_threshold"))
    for limit in LIMITS:
        assert f"`{limit}`" in readme
        assert f"{limit}=" in marker


def test_links_between_documents_lead_somewhere() -> None:
    """A relative link names a file that is there."""
    for document in [*DOCUMENTS, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_no_figure_is_left_open() -> None:
    """A number in the README is a number."""
    assert re.findall(r"\b[A-Z]+_[A-Z]+\b", (ROOT / "README.md").read_text("utf-8").replace("OPENAI_API_KEY", "")) == []
