"""The cassette of a test: its name, the marker, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.plugin.live import Project

Run = Callable[..., pytest.RunResult]
RECORD = "--modelroute-record=new"


def test_the_name_is_the_path_of_the_module_and_the_name_of_the_test(project: Project, run: Run) -> None:
    """Folders, module, classes and function, from the folder of the settings on."""
    folder = project.path / "suite" / "deep"
    folder.mkdir(parents=True)
    (folder / "test_names.py").write_text(
        "from app import ask\n"
        "def test_plain(recorded_providers):\n    ask('a')\n"
        "class TestOuter:\n    class TestInner:\n"
        "        def test_method(self, recorded_providers):\n            ask('b')\n",
        "utf-8",
    )
    run(RECORD).assert_outcomes(passed=2)
    assert project.cassettes() == [
        "suite/deep/test_names/TestOuter.TestInner.test_method",
        "suite/deep/test_names/test_plain",
    ]
    assert not list((project.path / "suite").rglob("cassettes"))
    run().assert_outcomes(passed=2)
    assert sorted(project.live.asked) == ["a", "b"]


def test_the_fixture_alone_and_the_marker_alone_are_enough(project: Project, run: Run) -> None:
    """Either brings recordings, under the same default name."""
    project.tests(
        """
        import pytest
        from app import ask

        def test_fixture(recorded_providers):
            assert ask("a") == "re: a" and len(recorded_providers.calls) == 1

        @pytest.mark.cassette
        def test_marker():
            assert ask("b") == "re: b"

        @pytest.mark.cassette()
        def test_called():
            assert ask("c") == "re: c"
        """
    )
    for options in ((RECORD,), ()):
        run(*options).assert_outcomes(passed=3)
    assert project.cassettes() == ["test_it/test_called", "test_it/test_fixture", "test_it/test_marker"]
    assert sorted(project.live.asked) == ["a", "b", "c"]


def test_a_marker_of_a_class_or_a_module_serves_its_tests(project: Project, run: Run) -> None:
    """The closest marker counts."""
    project.tests(
        """
        import pytest
        from app import ask

        pytestmark = pytest.mark.cassette("of/the module")

        def test_module():
            ask("a")

        @pytest.mark.cassette("of/the class")
        class TestClass:
            def test_class(self):
                ask("b")

            @pytest.mark.cassette
            def test_own(self):
                ask("c")

        @pytest.mark.parametrize("prompt", ["d", pytest.param("e", marks=pytest.mark.cassette("of/one"))])
        def test_parameter(prompt):
            ask(prompt)
        """
    )
    run(RECORD).assert_outcomes(passed=5)
    assert project.cassettes() == ["of/one", "of/the class", "of/the module", "test_it/TestClass.test_own"]
    assert project.prompts("of/the module") == ["a", "d"]


def test_the_marker_brings_the_recordings_before_the_fixtures_of_the_test(project: Project, run: Run) -> None:
    """As with usefixtures: what the test's own fixtures ask is recorded too, and session fixtures come before."""
    project.tests(
        """
        import pytest
        from app import ask

        @pytest.fixture(scope="session")
        def started(request):
            assert not request.config.pluginmanager.get_plugin("nothing")
            import httpx, os
            return httpx.get(os.environ["LIVE_URL"] + "/health").text

        @pytest.fixture
        def greeting():
            return ask("hello")

        @pytest.mark.cassette
        def test_greeting(greeting, started):
            assert greeting == "re: hello" and started == "got /health"
        """
    )
    for options in ((RECORD,), ()):
        run(*options).assert_outcomes(passed=1)
    assert project.prompts("test_it/test_greeting") == ["hello"]
    assert project.live.asked == ["hello"]
    assert project.live.others == ["/health"] * 2


PARAMETERS = [
    "a/b",
    "../up",
    "a\\b",
    'say "hi": <now>?',
    "tab\there",
    "größe",
    "模型",
    "x" * 300,
    "A",
    "a",
    "a.",
    " ",
    "",
]


def test_parametrized_names_are_safe_and_unique(project: Project, run: Run) -> None:
    """Whatever a parameter holds, each has a file of its own, also where file systems know no case."""
    project.tests(
        f"""
        import pytest
        from app import ask

        @pytest.mark.parametrize("prompt", {PARAMETERS!r}, ids=lambda text: text)
        def test_prompt(prompt, recorded_providers):
            ask(f"p{{prompt}}")
        """
    )
    for options in ((RECORD,), ()):
        run(*options).assert_outcomes(passed=len(PARAMETERS))
    names = project.cassettes()
    assert len({name.lower() for name in names}) == len(PARAMETERS)
    assert all(name.startswith("test_it/test_prompt[") and name.isascii() for name in names)
    assert all(
        len(Path(name).name) < 150 and not set(name.removeprefix("test_it/")) & set('<>:"/\\|?*\t') for name in names
    )
    assert {"test_it/test_prompt[a]"} < set(names)
    assert sorted(project.live.asked) == sorted(f"p{prompt}" for prompt in PARAMETERS)


def test_names_that_differ_in_case_alone_have_files_of_their_own(project: Project, run: Run) -> None:
    """Functions and classes too; one of the two keeps its plain name."""
    project.tests(
        """
        from app import ask

        def test_model(recorded_providers): ask("a")
        def test_Model(recorded_providers): ask("b")

        class TestRoute:
            def test_it(self, recorded_providers): ask("c")

        class Testroute:
            def test_it(self, recorded_providers): ask("d")

        class TestOpenAI:
            def test_Asked(self, recorded_providers): ask("e")
        """
    )
    for options in ((RECORD,), ()):
        run(*options).assert_outcomes(passed=5)
    names = project.cassettes()
    assert len({name.lower() for name in names}) == 5
    assert {"test_it/test_model", "test_it/Testroute.test_it", "test_it/TestOpenAI.test_Asked"} < set(names)


@pytest.mark.skipif(sys.platform == "win32", reason="no such folder there")
def test_folders_that_other_systems_do_not_take_have_safe_names(project: Project, run: Run) -> None:
    """`aux` is a device on Windows."""
    (project.path / "aux").mkdir()
    (project.path / "aux" / "test_it.py").write_text("from app import ask\ndef test_a(recorded_providers): ask('a')\n")
    run(RECORD).assert_outcomes(passed=1)
    (name,) = project.cassettes()
    assert name.startswith("aux-")
    assert name.endswith("/test_it/test_a")


def test_modules_outside_of_the_folder_of_the_settings_have_names_of_their_own(project: Project, run: Run) -> None:
    """With --modelroute-config two modules of one name lie elsewhere, each with its folder in the name."""
    (project.path / "modelroute.toml").unlink()
    settings = project.path / "conf" / "modelroute.toml"
    settings.parent.mkdir()
    settings.write_text("", "utf-8")
    for folder in ("one", "two"):
        (project.path / folder).mkdir()
        module = project.path / folder / "test_same.py"
        module.write_text(f"from app import ask\ndef test_a(recorded_providers): ask({folder!r})\n", "utf-8")
    options = ("--modelroute-config=conf/modelroute.toml", "--import-mode=importlib")
    run(RECORD, *options).assert_outcomes(passed=2)
    found = sorted(path.relative_to(settings.parent).as_posix() for path in settings.parent.rglob("*.yaml"))
    assert found == ["cassettes/(up)/one/test_same/test_a.yaml", "cassettes/(up)/two/test_same/test_a.yaml"]
    run(*options).assert_outcomes(passed=2)
    assert sorted(project.live.asked) == ["one", "two"]


def test_two_settings_files_in_one_session_keep_their_own_folders(project: Project, run: Run) -> None:
    """Each test's cassette lies beside the settings that are nearest to it, in the folder that they name."""
    for folder, settings in (("one", 'cassettes = "tapes"\n'), ("two", "")):
        (project.path / folder).mkdir()
        (project.path / folder / "modelroute.toml").write_text(settings, "utf-8")
        module = project.path / folder / f"test_{folder}.py"
        module.write_text(f"from app import ask\ndef test_a(recorded_providers): ask({folder!r})\n", "utf-8")
    for options in ((RECORD,), ()):
        run(*options).assert_outcomes(passed=2)
    assert (project.path / "one/tapes/test_one/test_a.yaml").is_file()
    assert (project.path / "two/cassettes/test_two/test_a.yaml").is_file()
    assert not (project.path / "cassettes").exists()
    assert sorted(project.live.asked) == ["one", "two"]


def test_a_shared_cassette_answers_several_tests(project: Project, run: Run) -> None:
    """One file of a given name: what a test before has recorded is not asked again."""
    project.tests(
        """
        import pytest
        from app import ask

        @pytest.mark.cassette("shared/name")
        def test_one():
            ask("both"), ask("one")

        @pytest.mark.cassette(name="shared/name")
        def test_two():
            ask("both"), ask("two")
        """
    )
    for options in ((RECORD,), ()):
        run(*options).assert_outcomes(passed=2)
    assert project.cassettes() == ["shared/name"]
    assert project.prompts("shared/name") == project.live.asked == ["both", "one", "two"]


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (
            '"a", "b"',
            "@pytest.mark.cassette('a', 'b'): one name was expected, or none for a cassette of the test's own, *",
        ),
        ("nmae='a'", "@pytest.mark.cassette(nmae='a'): one name was expected, or none for a *"),
        ("5", "@pytest.mark.cassette(5): one name was expected, or none for a *"),
        ('""', "@pytest.mark.cassette(''): one name was expected, or none for a *"),
        ('"../a"', "the cassette name '../a' leads out of the folder (..); a name such as checkout/refund was *"),
        ('"/etc/a"', "the cassette name '/etc/a' is absolute; a name such as checkout/refund was expected, *"),
        ('"a:b"', "the cassette name 'a:b' has the character ':', which some systems do not allow; *"),
    ],
)
def test_a_marker_that_names_no_cassette_is_a_usage_error(
    project: Project, run: Run, marker: str, message: str
) -> None:
    """Nothing runs, and the message names the test."""
    project.tests(f"import pytest\n\n@pytest.mark.cassette({marker})\ndef test_a():\n    raise SystemExit('it ran')\n")
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: test_it.py::test_a: {message.replace('[', '[[]')}"])
    assert len(result.stderr.lines) <= 2


def test_a_marker_that_names_no_cassette_is_a_usage_error_under_xdist(project: Project, run: Run) -> None:
    """The message arrives once, no other test runs, and the exit code is the same."""
    project.tests(
        "import pytest\n\n@pytest.mark.cassette('a', 'b')\ndef test_a():\n    pass\n\ndef test_b():\n    pass\n"
    )
    result = run("-n", "2", using=("xdist",), inprocess=False)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["test_it.py::test_a: @pytest.mark.cassette('a', 'b'): one name was expected, *"])


@pytest.mark.parametrize("mode", ["none", "new"])
def test_a_symlink_out_of_the_folder_is_refused(project: Project, run: Run, mode: str) -> None:
    """Neither read nor written through, in a message without a traceback."""
    outside = project.path / "outside"
    outside.mkdir()
    (project.path / "cassettes").mkdir()
    (project.path / "cassettes" / "link").symlink_to(outside)
    project.tests("import pytest, app\n\n@pytest.mark.cassette('link/a')\ndef test_a():\n    app.ask('a')\n")
    result = run(f"--modelroute-record={mode}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: test_it.py::test_a: *cassettes/link/a.yaml: it leads out of *cassettes, to *outside/a.yaml; *"]
    )
    assert not list(outside.iterdir())
    assert project.live.asked == []


def test_our_marker_and_that_of_pytest_recording_work_in_one_session(project: Project, run: Run) -> None:
    """Each records and replays on its own tests, in its own folder."""
    project.tests(
        """
        import pytest
        from app import ask

        @pytest.mark.cassette
        def test_ours():
            assert ask("a") == "re: a"

        @pytest.mark.vcr
        def test_theirs():
            assert ask("b") == "re: b"

        @pytest.mark.cassette
        def test_ours_again():
            assert ask("c") == "re: c"
        """
    )
    run(RECORD, "--record-mode=once", using=("recording",)).assert_outcomes(passed=3)
    assert project.cassettes() == ["test_it/test_ours", "test_it/test_ours_again", "test_it/test_theirs"]
    assert project.prompts("test_it/test_theirs") == ["b"]
    assert project.cassette("test_it/test_theirs").interactions[0].facts is None
    run("--record-mode=none", using=("recording",)).assert_outcomes(passed=3)
    assert project.live.asked == ["a", "b", "c"]


def test_the_marker_is_documented(run: Run) -> None:
    """`pytest --markers` says what it is."""
    run("--markers").stdout.fnmatch_lines(["@pytest.mark.cassette(name=None): the recording of the fixture *"])
