"""Which file a folder's settings come from, and what becomes of a file that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_modelroute.config import ModelSettings, Settings, StepSettings
from pytest_modelroute.discovery import SettingsFiles
from pytest_modelroute.errors import SettingsError

TABLES = """
[models.small]
model = "gpt-4.1-nano"
tier = "small"
input_price = 0.1
output_price = 0.4

[steps.classify]
model = "small"

[thresholds.classify]
min_accuracy = 0.9
"""


def _write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def _router(name: str) -> str:
    return f'router = "{name}:make"\n'


def _found(files: SettingsFiles, folder: Path) -> str | None:
    settings = files.at(folder)
    return None if settings is None or settings.router is None else settings.router.partition(":")[0]


def _read_explicit(path: Path) -> object:
    return SettingsFiles(path).at(path.parent)


def _read_nearest(path: Path) -> object:
    return SettingsFiles().at(path.parent)


def test_settings_from_code_equal_those_of_the_file(tmp_path: Path) -> None:
    """The same models serve both."""
    path = _write(tmp_path / "modelroute.toml", TABLES)
    small = {"model": "gpt-4.1-nano", "tier": "small", "input_price": "0.1", "output_price": "0.4"}
    assert Settings.from_file(path) == Settings(
        models={"small": ModelSettings.model_validate(small)},
        steps={"classify": StepSettings(model="small")},
        thresholds={"classify": {"min_accuracy": 0.9}},
    )


def test_pyproject_holds_the_same_tables_under_a_prefix(tmp_path: Path) -> None:
    """[tool.modelroute] in the one is the top of the other."""
    _write(tmp_path / "modelroute.toml", TABLES)
    _write(tmp_path / "pyproject.toml", TABLES.replace("\n[", "\n[tool.modelroute."))
    assert Settings.from_file(tmp_path / "pyproject.toml") == Settings.from_file(str(tmp_path / "modelroute.toml"))


@pytest.mark.parametrize("name", ["modelroute.toml", "pyproject.toml"])
def test_a_folder_has_the_settings_of_its_own_file(tmp_path: Path, name: str) -> None:
    """Either name will do."""
    _write(tmp_path / name, ("[tool.modelroute]\n" if name == "pyproject.toml" else "") + _router("here"))
    assert _found(SettingsFiles(), tmp_path) == "here"


def test_modelroute_toml_wins_over_pyproject_in_one_folder(tmp_path: Path) -> None:
    """The file that is ours alone is the more deliberate one."""
    _write(tmp_path / "modelroute.toml", _router("ours"))
    _write(tmp_path / "pyproject.toml", "[tool.modelroute]\n" + _router("pyproject"))
    assert _found(SettingsFiles(), tmp_path) == "ours"


@pytest.mark.parametrize(("folder", "found"), [(".", "top"), ("one", "one"), ("one/deep/er", "one"), ("two", "top")])
def test_the_nearest_file_wins(tmp_path: Path, folder: str, found: str) -> None:
    """Each folder looks up until it finds one."""
    _write(tmp_path / "pyproject.toml", "[tool.modelroute]\n" + _router("top"))
    _write(tmp_path / "one" / "modelroute.toml", _router("one"))
    assert _found(SettingsFiles(), tmp_path / folder) == found


def test_folders_of_one_session_keep_their_own_settings(tmp_path: Path) -> None:
    """What was found for one is not used for another."""
    for name in ("one", "two"):
        _write(tmp_path / name / "modelroute.toml", _router(name))
    files = SettingsFiles()
    assert [_found(files, tmp_path / name) for name in ("one", "two", "one")] == ["one", "two", "one"]


def test_a_file_is_read_once(tmp_path: Path) -> None:
    """Every test of a folder, and of those below it, shares its settings."""
    _write(tmp_path / "modelroute.toml", _router("top"))
    files = SettingsFiles()
    assert files.at(tmp_path / "below") is files.at(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[project]\nname = 'modelroute'\n", "[tool.ruff]\nline-length = 9\n", "# modelroute\n"]
)
def test_a_pyproject_without_our_table_is_passed_over(tmp_path: Path, text: str) -> None:
    """Most of them have nothing for us, also where they name us."""
    _write(tmp_path / "modelroute.toml", _router("top"))
    _write(tmp_path / "one" / "pyproject.toml", text)
    assert _found(SettingsFiles(), tmp_path / "one") == "top"


def test_a_pyproject_that_does_not_name_us_is_not_parsed(tmp_path: Path) -> None:
    """A broken file of somebody else's is not our matter."""
    _write(tmp_path / "modelroute.toml", _router("top"))
    _write(tmp_path / "one" / "pyproject.toml", "[broken")
    assert _found(SettingsFiles(), tmp_path / "one") == "top"


def test_a_pyproject_that_is_not_utf8_and_does_not_name_us_is_not_our_matter(tmp_path: Path) -> None:
    """The plugin, installed and unused, stops nobody."""
    _write(tmp_path / "modelroute.toml", _router("top"))
    _write(tmp_path / "one" / "pyproject.toml", b"# caf\xe9\n[project]\nname = 'x'\n")
    assert _found(SettingsFiles(), tmp_path / "one") == "top"


def test_an_empty_table_is_settings(tmp_path: Path) -> None:
    """[tool.modelroute] alone ends the search with the defaults."""
    _write(tmp_path / "modelroute.toml", _router("top"))
    _write(tmp_path / "one" / "pyproject.toml", "[tool.modelroute]\n")
    assert SettingsFiles().at(tmp_path / "one") == Settings()


def test_a_folder_without_any_settings_has_none(tmp_path: Path) -> None:
    """The search ends at the root."""
    assert SettingsFiles().at(tmp_path / "nowhere") is None


def test_a_folder_of_that_name_is_no_settings_file(tmp_path: Path) -> None:
    """Only files are read."""
    (tmp_path / "modelroute.toml").mkdir()
    assert SettingsFiles().at(tmp_path) is None


def test_a_given_file_serves_every_folder(tmp_path: Path) -> None:
    """It wins over the nearest one."""
    _write(tmp_path / "modelroute.toml", _router("nearest"))
    given = _write(tmp_path / "other" / "given.toml", _router("given"))
    assert _found(SettingsFiles(given), tmp_path) == "given"


@pytest.mark.parametrize("given", [False, True])
def test_the_folder_of_a_file_is_where_it_stands(tmp_path: Path, given: bool) -> None:
    """Case files are looked for beside it."""
    path = _write(tmp_path / "conf" / "modelroute.toml", _router("a"))
    files = SettingsFiles(path if given else None)
    assert files.folder(path.parent / "below") == tmp_path / "conf"


def test_without_a_file_there_is_no_folder(tmp_path: Path) -> None:
    """Nothing is made up."""
    assert SettingsFiles().folder(tmp_path) is None


@pytest.mark.parametrize("read", [Settings.from_file, _read_explicit])
def test_a_given_file_that_is_not_there_is_an_error(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """A wrong path is not taken for no settings."""
    path = tmp_path / "nowhere.toml"
    with pytest.raises(SettingsError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: there is no such settings file"


@pytest.mark.parametrize("read", [Settings.from_file, _read_explicit])
def test_a_given_folder_is_an_error(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """A folder where a file was meant is told in words."""
    with pytest.raises(SettingsError):
        read(tmp_path)


@pytest.mark.parametrize("read", [Settings.from_file, _read_explicit])
def test_a_given_pyproject_without_our_table_is_an_error(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """Who names it means that it has one."""
    path = _write(tmp_path / "pyproject.toml", "[project]\nname = 'x'\n")
    with pytest.raises(SettingsError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: it has no table [tool.modelroute]"


@pytest.mark.parametrize("read", [Settings.from_file, _read_explicit, _read_nearest])
def test_a_file_that_is_no_toml_says_where(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """Line and column, as the parser has them."""
    path = _write(tmp_path / "modelroute.toml", "[models.small\n")
    with pytest.raises(SettingsError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{path}: not TOML: Expected ']' at the end of a table declaration (at line 1, column 14)"
    )


@pytest.mark.parametrize("read", [Settings.from_file, _read_explicit, _read_nearest])
def test_a_file_that_is_not_utf8_says_where(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """The byte that is wrong."""
    path = _write(tmp_path / "modelroute.toml", b'router = "caf\xe9"')
    with pytest.raises(SettingsError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: not UTF-8 at byte 13"


@pytest.mark.parametrize("read", [Settings.from_file, _read_explicit, _read_nearest])
def test_a_mistake_in_a_file_names_the_file(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """File, key and the nearest valid name."""
    path = _write(tmp_path / "modelroute.toml", '[models.small]\nmodel = "m"\nteir = "small"\n')
    with pytest.raises(SettingsError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: unknown key 'models.small.teir'; did you mean 'tier'?"


def test_a_mistake_in_pyproject_is_named_as_it_stands_there(tmp_path: Path) -> None:
    """A key is searched for by its whole name."""
    path = _write(tmp_path / "pyproject.toml", "[tool.modelroute]\ntires = []\n")
    with pytest.raises(SettingsError, match=r"unknown key 'tool\.modelroute\.tires'; did you mean 'tiers'\?"):
        SettingsFiles().at(path.parent)


def test_a_pyproject_whose_tool_is_no_table_has_no_table_of_ours(tmp_path: Path) -> None:
    """It is valid TOML, and told in words."""
    path = _write(tmp_path / "pyproject.toml", "tool = 3\n# modelroute\n")
    with pytest.raises(SettingsError):
        Settings.from_file(path)


def test_a_byte_order_mark_changes_nothing(tmp_path: Path) -> None:
    """As for case files, files saved by Windows programs are read as any other."""
    _write(tmp_path / "modelroute.toml", b"\xef\xbb\xbf" + _router("here").encode())
    assert _found(SettingsFiles(), tmp_path) == "here"
