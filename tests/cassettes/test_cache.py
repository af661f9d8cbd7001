"""The packed copy of a cassette: the same calls, without parsing them."""

from __future__ import annotations

import gc
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelroute.cassettes import cache
from pytest_modelroute.cassettes.cache import Packed, open_packed
from pytest_modelroute.cassettes.files import read_cassette
from pytest_modelroute.cassettes.interaction import Interaction, RecordedRequest
from pytest_modelroute.errors import CassetteError
from tests.cassettes.making import Shelf, call, question_of
from tests.cassettes.strategies import interactions
from tests.cassettes.workers import go, said, worker


def _key(request: RecordedRequest) -> str:
    return f"{request.url}\n{request.body!r}"


def _open(shelf: Shelf, path: Path, fingerprint: str = "1") -> Packed:
    return open_packed(path, _key, fingerprint, state=shelf.state)


def _copies(shelf: Shelf) -> list[Path]:
    return sorted((shelf.state / "cache").glob("*"))


@pytest.fixture(name="shelf")
def _shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture(name="parsed")
def _parsed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The cassettes that were parsed."""
    parsed: list[Path] = []

    def reading(path: Path) -> Any:
        parsed.append(path)
        return read_cassette(path)

    monkeypatch.setattr(cache, "read_cassette", reading)
    return parsed


@given(st.lists(interactions, max_size=4))
@settings(deadline=None, max_examples=40)
def test_a_copy_holds_what_the_cassette_holds(given: list[Interaction]) -> None:
    """Keys, lines and interactions, whether it was just written or is read."""
    with TemporaryDirectory() as root:
        shelf = Shelf(Path(root))
        path = shelf.put(*given)
        read = read_cassette(path)
        for packed in (_open(shelf, path), _open(shelf, path)):
            assert packed.keys == [_key(each.request) for each in read.interactions]
            assert [packed.interaction(number) for number in range(len(packed))] == read.interactions
            assert [packed.line(number) for number in range(len(packed))] == read.lines
            assert packed.digest == read.digest


def test_the_second_time_nothing_is_parsed(shelf: Shelf, parsed: list[Path]) -> None:
    """The copy is found by the hash of the content, whatever the times of the file."""
    path = shelf.put(call("one"), call("two"))
    _open(shelf, path)
    path.touch()
    assert question_of(_open(shelf, path).interaction(1)) == "two"
    assert parsed == [path]


def test_a_number_beyond_the_last_is_an_index_error(shelf: Shelf) -> None:
    """As in a list, from either end."""
    packed = _open(shelf, shelf.put(call("one"), call("two")))
    assert packed.interaction(-1) == packed.interaction(1)
    for number in (2, -3):
        with pytest.raises(IndexError):
            packed.interaction(number)


def test_a_cassette_that_does_not_exist_is_empty_and_has_no_copy(shelf: Shelf) -> None:
    """A new one begins there."""
    packed = _open(shelf, shelf.folder / "new.yaml")
    assert (len(packed), packed.keys, packed.digest) == (0, [], "")
    assert _copies(shelf) == []


def test_a_damaged_cassette_is_an_error_and_has_no_copy(shelf: Shelf) -> None:
    """All checks are made before a copy is."""
    path = shelf.put(call("one"))
    path.write_text(path.read_text("utf-8").replace("one", "1"), "utf-8")
    with pytest.raises(CassetteError, match="edited after it was recorded"):
        _open(shelf, path)
    assert _copies(shelf) == []


def test_a_cassette_damaged_after_a_copy_was_made_is_an_error(shelf: Shelf) -> None:
    """A copy of an earlier content does not stand in for it."""
    path = shelf.put(call("one"))
    _open(shelf, path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CassetteError, match="interaction 1"):
        _open(shelf, path)


def test_copies_of_an_earlier_content_are_removed(shelf: Shelf) -> None:
    """Whatever matching they were made for; those of other cassettes stay."""
    path, other = shelf.put(call("one")), shelf.put(call("one"), name="other.yaml")
    for each, fingerprint in ((other, "1"), (path, "1"), (path, "2")):
        _open(shelf, each, fingerprint)
    assert len(_copies(shelf)) == 3
    shelf.put(call("two"))
    assert len(_open(shelf, path)) == 2
    assert len(_copies(shelf)) == 2


def test_another_matching_has_keys_of_its_own(shelf: Shelf, parsed: list[Path]) -> None:
    """The fingerprint stands for everything that makes a key."""
    path = shelf.put(call("one"))
    for _ in range(2):
        assert _open(shelf, path, "1").keys != ["url"]
        assert open_packed(path, lambda request: "url", "2", state=shelf.state).keys == ["url"]
    assert parsed == [path, path]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:10],
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:],
        lambda data: data[:30] + bytes([data[30] ^ 1]) + data[31:],
        lambda data: data[:-30] + bytes([data[-30] ^ 1]) + data[-29:],
        lambda data: b"\0" * len(data),
    ],
    ids=["empty", "a part of the header", "cut", "longer", "numbers", "seal", "a body", "zeros"],
)
def test_a_damaged_copy_is_made_anew(shelf: Shelf, parsed: list[Path], damage: Any) -> None:
    """Nobody notices but the clock."""
    path = shelf.put(call("one"))
    _open(shelf, path)
    (copy,) = _copies(shelf)
    whole = copy.read_bytes()
    copy.write_bytes(damage(whole))
    assert question_of(_open(shelf, path).interaction(0)) == "one"
    assert parsed == [path, path]
    assert copy.read_bytes() == whole


def test_a_copy_under_the_name_of_another_one_is_made_anew(shelf: Shelf, parsed: list[Path]) -> None:
    """Its hash is also that of its name: other keys would answer other calls."""
    path = shelf.put(call("one"))
    _open(shelf, path, "1")
    (first,) = _copies(shelf)
    open_packed(path, lambda request: "url", "2", state=shelf.state)
    (second,) = set(_copies(shelf)) - {first}
    second.write_bytes(first.read_bytes())
    assert open_packed(path, lambda request: "url", "2", state=shelf.state).keys == ["url"]


def test_copies_may_be_deleted_while_they_are_used(shelf: Shelf) -> None:
    """What is open stays readable, and the next one makes a copy."""
    path = shelf.put(call("one"))
    packed = [_open(shelf, path), _open(shelf, path)]
    for copy in _copies(shelf):
        copy.unlink()
    assert [question_of(each.interaction(0)) for each in packed] == ["one", "one"]


def test_a_copy_that_cannot_be_written_is_no_error(shelf: Shelf) -> None:
    """The folder may be read-only, or no folder."""
    path = shelf.put(call("one"))
    (shelf.state / "cache").write_text("a file", "utf-8")
    assert question_of(_open(shelf, path).interaction(0)) == "one"


def test_processes_that_open_one_cassette_at_once_read_the_same(shelf: Shelf) -> None:
    """And leave one copy."""
    path = shelf.put(*(call(str(number)) for number in range(50)))
    with ExitStack() as stack:
        processes = [stack.enter_context(worker("opens", str(shelf.root))) for _ in range(3)]
        assert [said(each) for each in processes] == ["ready"] * 3
        for each in processes:
            go(each)
        assert [said(each) for each in processes] == ["50"] * 3
    (copy,) = _copies(shelf)
    assert copy.suffix == ".packed"
    assert len(_open(shelf, path)) == 50


def test_a_copy_opens_at_least_twenty_times_faster_than_the_yaml(shelf: Shelf) -> None:
    """The best of several times, of 1,000 calls."""
    path = shelf.put(*(call(f"{number} {'why ' * 200}", answer="because " * 170) for number in range(1000)))

    def seconds() -> float:
        gc.collect()
        start = time.process_time()
        _open(shelf, path)
        return time.process_time() - start

    cold = seconds()
    assert cold / min(seconds() for _ in range(5)) >= 20


def test_a_warm_copy_brings_neither_yaml_nor_vcrpy_into_the_process(shelf: Shelf) -> None:
    """A replay costs what it uses."""
    import subprocess

    path = shelf.put(call("one"))
    open_packed(path, lambda request: request.url, "1", state=shelf.state)
    code = (
        "import sys; from pathlib import Path; from pytest_modelroute.cassettes.cache import open_packed; "
        "packed = open_packed(Path(sys.argv[1]), lambda request: request.url, '1', state=Path(sys.argv[2])); "
        "packed.interaction(0); print(sorted({'yaml', 'vcr', 'pickle'} & set(sys.modules) - {'pickle'}))"
    )
    words = [sys.executable, "-c", code, str(path), str(shelf.state)]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "[]\n"
