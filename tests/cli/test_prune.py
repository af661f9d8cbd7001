"""`modelroute cassettes prune`, with what the plugin notes of tests that pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import genai_prices
import pytest
import vcr.serializers.yamlserializer
import yaml

import pytest_modelroute.recording
import pytest_modelroute.testrun
from pytest_modelroute.cassettes.files import read_cassette
from tests.cli.recordings import Desk, chat

OFF = [word for name in ("respx", "asyncio", "anyio", "randomly", "xdist") for word in ("-p", f"no:{name}")]
ASK = """
import httpx
import pytest

def ask(question):
    url = "http://127.0.0.1:9/v1/chat/completions"
    body = {"model": "toy-small", "messages": [{"role": "user", "content": question}]}
    return httpx.post(url, json=body).json()["choices"][0]["message"]["content"]
"""
OWN = (
    ASK
    + """
@pytest.mark.cassette
def test_own():
    assert ask("a") == "LOW"
"""
)
SHARED = (
    ASK
    + """
@pytest.mark.cassette("shared")
def test_one():
    ask("a")

@pytest.mark.cassette("shared")
def test_two():
    ask("b")
"""
)
Suite = Callable[..., None]
# pytester forgets what a run in this process imported; what it finds imported is not loaded once a test, and the C part
# of yaml must not be loaded twice.
LOADED = (yaml, genai_prices, pytest_modelroute.recording, pytest_modelroute.testrun, vcr.serializers.yamlserializer)


@pytest.fixture
def suite(desk: Desk, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Write a test module and run it, all or some of its tests, each of which has to pass."""

    def run(source: str = "", *arguments: str, name: str = "test_shop.py") -> None:
        if source:
            (desk.root / name).write_text(source, "utf-8")
        monkeypatch.chdir(desk.root)
        result = pytester.runpytest_inprocess(
            *OFF, "-q", "--rootdir", str(desk.root), *(arguments or (str(desk.root),))
        )
        monkeypatch.chdir(desk.root)
        assert result.ret == 0, result.stdout.str()

    desk.settings()
    monkeypatch.chdir(desk.root)  # pytester has left it
    return run


def questions(path: Path) -> list[str]:
    """What a cassette holds."""
    bodies = [json.loads(each.request.body) for each in read_cassette(path).interactions]
    return [body["messages"][0]["content"] for body in bodies]


def test_what_no_test_replays_is_shown_and_then_removed(desk: Desk, suite: Suite) -> None:
    """The first time nothing is touched; with --yes the rest stays, and stays whole."""
    path = desk.put(chat("a"), chat("b"), chat("c"), name="test_shop/test_own.yaml")
    suite(OWN)
    before = path.read_bytes()
    ran = desk.run("prune")
    assert (ran.code, path.read_bytes()) == (1, before)
    assert ran.out == [
        "to remove: 2 interactions (1 cassette seen)",
        "  cassettes/test_shop/test_own.yaml: 2 of 3 interactions (number 2, 3): not replayed by 1 test that uses it",
        "",
        "remove it: modelroute cassettes prune --yes",
    ]
    ran = desk.run("prune", "--yes")
    assert ran.code == 0
    assert ran.out[0] == "removed: 2 interactions (1 cassette seen)"
    assert ran.out[-1] == "run the tests again: pytest"
    assert questions(path) == ["a"]
    suite()
    assert desk.run("prune").out == ["to remove: nothing (1 cassette seen)"]


def test_before_the_tests_ran_nothing_is_known(desk: Desk, suite: Suite) -> None:
    """A fresh clone has no notes."""
    path = desk.put(chat("a"), name="intents.yaml")
    ran = desk.run("prune", "--yes")
    assert (ran.code, path.exists()) == (0, True)
    assert ran.out == [
        "removed: nothing (1 cassette seen; of 1 cassette not enough is known)",
        "",
        "not enough is known of, and nothing is removed of:",
        "  cassettes/intents.yaml: no test is known to use it",
        "",
        "run the whole suite first: pytest; a cassette that no test is known to use then can be deleted",
    ]


def test_a_cassette_that_changed_since_the_run_is_left_alone(desk: Desk, suite: Suite) -> None:
    """The note is of another content; the message names the test to run."""
    path = desk.put(chat("a"), chat("b"), name="test_shop/test_own.yaml")
    suite(OWN)
    desk.put(chat("c"), name="test_shop/test_own.yaml")
    ran = desk.run("prune", "--yes")
    assert questions(path) == ["a", "b", "c"]
    assert "  cassettes/test_shop/test_own.yaml: it has changed since its tests ran" in ran.out
    assert ran.out[-1] == "run first: pytest test_shop.py::test_own"


def test_all_tests_of_a_shared_cassette_have_to_have_run(desk: Desk, suite: Suite) -> None:
    """Those that the sources name count, also where they have never run here."""
    path = desk.put(chat("a"), chat("b"), chat("c"), name="shared.yaml")
    suite(SHARED, "test_shop.py::test_one")
    ran = desk.run("prune", "--yes")
    assert questions(path) == ["a", "b", "c"]
    assert "  cassettes/shared.yaml: not every test that uses it has run" in ran.out
    assert ran.out[-1] == "run first: pytest test_shop.py::test_two"
    suite()
    desk.run("prune", "--yes")
    assert questions(path) == ["a", "b"]


def test_a_module_that_marks_all_its_tests_counts_as_a_whole(desk: Desk, suite: Suite) -> None:
    """Which of its tests use the cassette only a run can tell."""
    path = desk.put(chat("a"), chat("b"), name="shared.yaml")
    module = ASK + '\npytestmark = pytest.mark.cassette("shared")\n\ndef test_one():\n    ask("a")\n'
    (desk.root / "test_shop.py").write_text(module, "utf-8")
    assert desk.run("prune", "--yes").out[-1] == "run first: pytest test_shop.py"
    suite()
    desk.run("prune", "--yes")
    assert questions(path) == ["a"]


def test_the_cassette_of_a_test_that_is_gone_is_removed_whole(desk: Desk, suite: Suite) -> None:
    """With its note; the module is still there."""
    path = desk.put(chat("a"), name="test_shop/test_own.yaml")
    suite(OWN)
    (desk.root / "test_shop.py").write_text(OWN.replace("test_own", "test_other"), "utf-8")
    ran = desk.run("prune")
    assert (
        "  cassettes/test_shop/test_own.yaml: the whole file, 1 interaction: test_shop.py::test_own is gone" in ran.out
    )
    assert desk.run("prune", "--yes").code == 0
    assert not path.exists()
    assert list((desk.root / ".modelroute/replayed").glob("*.json")) == []


def test_the_cassette_of_a_module_that_is_gone_is_removed_whole(desk: Desk, suite: Suite) -> None:
    """Where a note tells whose it was."""
    path = desk.put(chat("a"), name="test_shop/test_own.yaml")
    suite(OWN)
    (desk.root / "test_shop.py").unlink()
    desk.run("prune", "--yes")
    assert not path.exists()


def test_an_own_cassette_whose_test_is_gone_needs_no_note(desk: Desk, suite: Suite) -> None:
    """Its name says which test of which module it was."""
    path = desk.put(chat("a"), name="test_shop/test_gone[x].yaml")
    (desk.root / "test_shop.py").write_text(OWN, "utf-8")
    ran = desk.run("prune", "cassettes", "--yes")
    assert any(line.endswith("1 interaction: test_shop.py has no test test_gone any more") for line in ran.out)
    assert not path.exists()


def test_inherited_tests_are_not_taken_for_gone(desk: Desk, suite: Suite) -> None:
    """A class with a base may have them from there."""
    path = desk.put(chat("a"), name="test_shop/TestShop.test_base.yaml")
    (desk.root / "test_shop.py").write_text("from laws import Laws\n\nclass TestShop(Laws):\n    pass\n", "utf-8")
    desk.run("prune", "--yes")
    assert path.exists()


def test_the_tests_of_a_class_of_its_own_can_be_gone(desk: Desk, suite: Suite) -> None:
    """Nothing else could bring them."""
    path = desk.put(chat("a"), name="test_shop/TestShop.test_old.yaml")
    (desk.root / "test_shop.py").write_text("class TestShop:\n    def test_new(self):\n        pass\n", "utf-8")
    desk.run("prune", "--yes")
    assert not path.exists()


def test_a_test_that_calls_nothing_leaves_nothing(desk: Desk, suite: Suite) -> None:
    """An empty cassette is no cassette."""
    path = desk.put(chat("a"), name="test_shop/test_own.yaml")
    suite(OWN.replace('assert ask("a") == "LOW"', "pass"))
    desk.run("prune", "--yes")
    assert not path.exists()


def test_recordings_of_every_model_are_kept(desk: Desk, suite: Suite) -> None:
    """A replay of one route uses few of them; with their test they go."""
    path = desk.put(chat("a"), chat("b"), name="test_shop/test_own.yaml")
    outcomes = path.with_name("test_own.yaml.outcomes.jsonl")
    outcomes.write_text("", "utf-8")
    suite(OWN)
    ran = desk.run("prune", "--yes")
    assert questions(path) == ["a", "b"]
    assert ran.out[-1] == (
        "  cassettes/test_shop/test_own.yaml: calls of every model are recorded in it, for "
        "test_own.yaml.outcomes.jsonl; record it anew to renew it"
    )
    (desk.root / "test_shop.py").unlink()
    desk.run("prune", "--yes")
    assert not path.exists()
    assert not outcomes.exists()


def test_a_note_is_written_once_and_failing_to_is_no_error(desk: Desk, suite: Suite) -> None:
    """A run in which nothing changes leaves it as it is."""
    desk.put(chat("a"), name="test_shop/test_own.yaml")
    suite(OWN)
    (note,) = (desk.root / ".modelroute/replayed").glob("*.json")
    before = note.stat().st_mtime_ns
    suite()
    assert note.stat().st_mtime_ns == before
    note.unlink()
    note.parent.rmdir()
    note.parent.write_text("in the way", "utf-8")
    suite()
    assert desk.run("prune").out[-1].startswith("run the whole suite first")


def test_a_test_that_fails_notes_nothing(desk: Desk, suite: Suite, pytester: pytest.Pytester) -> None:
    """It may have stopped half way."""
    desk.put(chat("a"), name="test_shop/test_own.yaml")
    (desk.root / "test_shop.py").write_text(OWN.replace('"LOW"', '"HIGH"'), "utf-8")
    pytester.runpytest_inprocess(*OFF, "-q", "--rootdir", str(desk.root), str(desk.root)).assert_outcomes(failed=1)
    assert not (desk.root / ".modelroute/replayed").exists()


@pytest.mark.parametrize("text", ["", "{}", '{"schema": 2}', "[1]", '{"schema": 1, "played": "x"}'])
def test_a_note_that_cannot_be_read_counts_as_none(desk: Desk, suite: Suite, text: str) -> None:
    """Then the test has to run once more."""
    path = desk.put(chat("a"), chat("b"), name="test_shop/test_own.yaml")
    suite(OWN)
    (note,) = (desk.root / ".modelroute/replayed").glob("*.json")
    note.write_text(text, "utf-8")
    desk.run("prune", "--yes")
    assert questions(path) == ["a", "b"]


def test_an_unreadable_cassette_stops_before_anything_is_removed(desk: Desk, suite: Suite) -> None:
    """What is not understood is not touched."""
    path = desk.put(chat("a"), chat("b"), name="test_shop/test_own.yaml")
    suite(OWN)
    (desk.root / "cassettes" / "a.yaml").write_text("interactions: [", "utf-8")
    ran = desk.run("prune", "--yes")
    assert (ran.code, questions(path)) == (2, ["a", "b"])
    assert ran.err[0].startswith("cassettes/a.yaml:1: ")
