"""Where in the user's code something happened."""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pytest_modelroute
from pytest_modelroute.wire.places import (
    call_site,
    is_users,
    raise_site,
    raise_sites,
    script_site,
    script_traceback,
    short_path,
)


def fail() -> None:
    """Raise here."""
    raise OSError("broken")


def caught(function: Callable[[], Any]) -> BaseException:
    """What a function raises."""
    try:
        function()
    except Exception as error:  # noqa: BLE001 - any
        return error
    raise AssertionError


def test_a_test_is_the_users_code() -> None:
    """A file of the project is the user's."""
    assert is_users(__file__)


@pytest.mark.parametrize(
    "file",
    [
        json.__file__,
        pytest.__file__,
        pytest_modelroute.__file__,
        "<string>",
        "<frozen importlib._bootstrap>",
        str(Path(sysconfig.get_path("purelib")) / "app" / "x.py"),
        "/project/.venv/lib/python3.13/site-packages/app/x.py",
    ],
)
def test_libraries_are_not(file: str) -> None:
    """The standard library, installed packages, generated code and ourselves are not the user's."""
    assert not is_users(file)


def test_the_site_of_a_call_is_here() -> None:
    """A call is placed at its file, line, function and source."""
    site = call_site()
    assert site.startswith("tests/wire/test_places.py:") or "/test_places.py:" in site
    assert site.endswith(", in test_the_site_of_a_call_is_here: site = call_site()")


def test_the_site_of_a_call_is_the_innermost_of_the_user() -> None:
    """Frames of libraries between the user's code and us are passed over."""
    sites: list[str] = []
    json.loads("{}", object_hook=lambda _value: sites.append(call_site()))
    assert ", in <lambda>: json.loads(" in sites[0]


def test_there_may_be_no_site() -> None:
    """Code that no file of the user calls has no site."""
    sites: list[str] = []
    namespace = {"call_site": call_site, "sites": sites}
    source = "import threading\nthread = threading.Thread(target=lambda: sites.append(call_site()))\n"
    exec(compile(source + "thread.start()\nthread.join()\n", "<made up>", "exec"), namespace)  # noqa: S102 - ours
    assert sites == [""]


def test_a_script_without_a_site_says_so() -> None:
    """A script that no file of the user makes is at an unknown place."""
    sites: list[str] = []
    namespace = {"script_site": script_site, "sites": sites}
    source = "import threading\nthread = threading.Thread(target=lambda: sites.append(script_site()))\n"
    exec(compile(source + "thread.start()\nthread.join()\n", "<made up>", "exec"), namespace)  # noqa: S102 - ours
    assert sites == ["unknown place"]


def test_the_site_of_a_script_is_file_and_line() -> None:
    """A script is placed at its file and line alone."""
    site = script_site()
    assert (site.rpartition(":")[0].endswith("test_places.py"), site.rpartition(":")[2].isdigit()) == (True, True)


def test_a_comma_in_the_path_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script in a folder whose name has a comma is placed at its whole path."""
    monkeypatch.chdir(tmp_path)
    sites: list[str] = []
    code = compile("sites.append(script_site())", str(tmp_path / "red, green" / "app.py"), "exec")
    exec(code, {"script_site": script_site, "sites": sites})  # noqa: S102 - ours
    assert sites == ["red, green/app.py:1"]


def test_a_path_below_is_shown_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file below the working directory is shown as one would type it."""
    monkeypatch.chdir(tmp_path)
    assert short_path(str(tmp_path / "app" / "x.py")) == str(Path("app/x.py"))


def test_a_path_elsewhere_is_shown_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file outside of the working directory is shown with its whole path."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert short_path(str(tmp_path / "x.py")) == str(tmp_path / "x.py")


def test_an_error_knows_where_it_passed() -> None:
    """An exception is placed at each line of the user's that it passed, outermost first."""
    assert [site.partition(", in ")[2] for site in raise_sites(caught(fail))] == [
        "caught: function()",
        'fail: raise OSError("broken")',
    ]


def test_the_site_of_an_error_is_the_innermost() -> None:
    """An error in a library is placed at the user's line that called it."""
    error = caught(lambda: json.loads("{"))
    assert raise_site(error).endswith(', in <lambda>: error = caught(lambda: json.loads("{"))')


def test_an_error_may_have_no_site() -> None:
    """An exception that was never raised has no place."""
    assert raise_site(OSError("broken")) == ""


def test_a_scripts_traceback_begins_in_the_users_code() -> None:
    """Frames of ours that led there say nothing to who reads it."""
    lines = script_traceback(caught(fail)).splitlines()
    assert (lines[2], lines[4].strip(), lines[-1]) == (
        "the script's own traceback:",
        f'File "{__file__}", line {caught.__code__.co_firstlineno + 3}, in caught',
        "OSError: broken",
    )


@pytest.mark.parametrize("error", [None, OSError("never raised")])
def test_what_no_code_of_the_user_raised_has_no_traceback(error: BaseException | None) -> None:
    """Nothing is shown in its place."""
    assert script_traceback(error) == ""
