"""The journal of a cassette: a call that was paid for is kept, whatever happens to the process that made it."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from errno import ENOSPC
from pathlib import Path
from stat import S_IMODE
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelroute.cassettes.interaction import Interaction
from pytest_modelroute.cassettes.journal import Journal
from pytest_modelroute.errors import CassetteError
from tests.cassettes.making import Shelf, call, question_of
from tests.cassettes.strategies import interactions
from tests.cassettes.workers import go, said, worker


@pytest.fixture(name="shelf")
def _shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture(name="journal")
def _journal(shelf: Shelf) -> Journal:
    return Journal(shelf.state, "refund")


def _questions(journal: Journal) -> list[str]:
    return [question_of(each) for each in journal.read()]


def _damage(path: Path, line: int) -> str:
    return (
        f"{path}:{line}: the journal is damaged, and the calls in it are not saved yet; "
        "delete this line to give up its call, or the file to give up all of them"
    )


@given(st.lists(interactions, max_size=4))
@settings(deadline=None, max_examples=40)
def test_what_is_appended_is_read_back_equal_and_in_order(given: list[Interaction]) -> None:
    """Also headers that come twice and bodies that are no text."""
    with TemporaryDirectory() as root:
        journal = Journal(Path(root), "refund")
        ids = [journal.append(each, test=f"test {number}") for number, each in enumerate(given)]
        assert journal.read() == given
        assert [(entry.id, entry.test) for entry in journal.entries()] == [
            (each, f"test {number}") for number, each in enumerate(ids)
        ]


def test_a_journal_that_nobody_wrote_to_is_empty(journal: Journal) -> None:
    """There is no file."""
    assert journal.read() == []
    assert not journal.path.exists()


def test_a_body_that_is_no_text_is_in_base64(journal: Journal) -> None:
    """The rest can be read by people."""
    binary = call("one")
    body = b"\xff\x00"
    journal.append(Interaction(request=binary.request, response=type(binary.response)(status=200, body=body)), test="t")
    line = json.loads(journal.path.read_text("ascii"))
    assert line["response_body"] == {"base64": "/wA="}
    assert '"one"' in line["request_body"]


def test_equal_calls_are_entries_of_their_own(journal: Journal) -> None:
    """One is removed, the other one stays."""
    first = journal.append(call("one"), test="t")
    second = journal.append(call("one"), test="t")
    journal.remove([first])
    assert [entry.id for entry in journal.entries()] == [second]


def test_entries_are_removed_by_id_and_the_last_takes_the_file_with_it(journal: Journal) -> None:
    """An id that is not there is none to remove."""
    ids = [journal.append(call(each), test="t") for each in ("one", "two", "three")]
    journal.remove([ids[1], "unknown"])
    assert _questions(journal) == ["one", "three"]
    assert S_IMODE(journal.path.stat().st_mode) == 0o600
    before = journal.path.stat().st_ino
    journal.remove(["unknown"])
    assert journal.path.stat().st_ino == before
    journal.remove([ids[0], ids[2]])
    assert not journal.path.exists()
    assert list(journal.path.parent.iterdir()) == []


def test_a_journal_can_be_given_up_whole(journal: Journal) -> None:
    """Damaged or not, there or not."""
    journal.clear()
    journal.append(call("one"), test="t")
    journal.path.write_bytes(b"nonsense\n" + journal.path.read_bytes())
    journal.clear()
    assert journal.read() == []


@pytest.mark.parametrize("umask", [0o000, 0o777], ids=["everything allowed", "nothing allowed"])
def test_only_its_owner_can_read_a_journal(shelf: Shelf, umask: int) -> None:
    """Whatever the umask says, and whatever was there before."""
    shelf.state.mkdir()
    (shelf.state / "journal").mkdir(mode=0o755)
    (shelf.state / "locks").mkdir(mode=0o755)
    journal = Journal(shelf.state, "refund")
    before = os.umask(umask)
    try:
        journal.append(call("one"), test="t")
    finally:
        os.umask(before)
    assert S_IMODE(journal.path.stat().st_mode) == 0o600
    assert S_IMODE(journal.path.parent.stat().st_mode) == 0o700


def test_a_journal_that_is_a_symlink_is_refused(shelf: Shelf, journal: Journal) -> None:
    """Nobody sends the calls elsewhere."""
    journal.path.parent.mkdir(parents=True)
    journal.path.symlink_to(shelf.root / "elsewhere")
    with pytest.raises(CassetteError, match="the journal cannot be used: Too many levels of symbolic links"):
        journal.append(call("one"), test="t")
    assert not (shelf.root / "elsewhere").exists()


@pytest.mark.parametrize("cassette", ["a/b", "a_b", "../a_b", "x" * 300, "später", "a b"])
def test_each_cassette_has_a_journal_of_its_own_in_the_folder(shelf: Shelf, cassette: str) -> None:
    """Names that look alike once they are safe do not meet."""
    journal = Journal(shelf.state, cassette)
    journal.append(call("one"), test="t")
    assert journal.path.parent == shelf.state / "journal"
    assert Journal(shelf.state, f"{cassette}2").read() == []
    assert Journal(shelf.state, cassette.replace("/", "_") + "_").read() == []


@pytest.mark.parametrize("kept", [1, 20, -2])
def test_a_last_line_that_was_cut_counts_as_not_written(journal: Journal, kept: int) -> None:
    """The next call takes its place."""
    journal.append(call("one"), test="t")
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + whole[:kept])
    assert _questions(journal) == ["one"]
    journal.append(call("two"), test="t")
    assert _questions(journal) == ["one", "two"]
    assert len(journal.path.read_bytes().splitlines()) == 2


def test_a_last_line_that_lacks_only_its_end_is_kept(journal: Journal) -> None:
    """The call is whole."""
    journal.append(call("one"), test="t")
    journal.path.write_bytes(journal.path.read_bytes()[:-1])
    assert _questions(journal) == ["one"]
    journal.append(call("two"), test="t")
    assert _questions(journal) == ["one", "two"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"digest"', b'"digest"'),
        (b'LOW\\"', b'HIGH\\"'),
        (b"0.25", b"0.5"),
        (b'"digest"', b'"digit"'),
        (b'"test": "t", ', b""),
    ],
)
def test_a_damaged_line_is_an_error_that_names_it(journal: Journal, old: bytes, new: bytes) -> None:
    """Nothing is dropped in silence, and nothing overwritten."""
    ids = [journal.append(call(each), test="t") for each in ("one", "two", "three")]
    lines = journal.path.read_bytes().split(b"\n")
    damaged = lines[1].replace(old, new, 1)
    journal.path.write_bytes(b"\n".join([lines[0], damaged, *lines[2:]]))
    assert damaged != lines[1]
    with pytest.raises(CassetteError) as caught:
        journal.read()
    assert str(caught.value) == _damage(journal.path, 2)
    with pytest.raises(CassetteError):
        journal.remove(ids)
    assert b"three" in journal.path.read_bytes()


@pytest.mark.parametrize("line", [b"", b"3", b"[]", b"{}", b"\xff"])
def test_a_line_that_is_none_of_ours_is_an_error(journal: Journal, line: bytes) -> None:
    """Also an empty one."""
    journal.append(call("one"), test="t")
    journal.path.write_bytes(line + b"\n" + journal.path.read_bytes())
    with pytest.raises(CassetteError) as caught:
        journal.read()
    assert str(caught.value) == _damage(journal.path, 1)


def test_a_journal_that_cannot_be_written_says_so(shelf: Shelf) -> None:
    """The reason is the system's."""
    shelf.state.write_text("a file", "utf-8")
    journal = Journal(shelf.state, "refund")
    with pytest.raises(CassetteError) as caught:
        journal.append(call("one"), test="t")
    assert str(caught.value) == (
        f"{journal.path}: the journal cannot be used: Not a directory; what it held before is as it was"
    )


def test_a_killed_process_keeps_every_call(shelf: Shelf, journal: Journal) -> None:
    """Each one of which `append` returned, in three processes one after the other; a later one may be there too."""
    known: list[str] = []
    for kill in range(1, 4):
        with worker("appends", str(shelf.root)) as process:
            heard = [said(process) for _ in range(kill * 3)]
            process.kill()
            process.wait()
            heard += process.stdout.read().split() if process.stdout is not None else []
        questions = _questions(journal)
        new = questions[len(known) :]
        assert questions[: len(known)] == known
        assert new[: len(heard)] == heard
        assert len(new) <= len(heard) + 1
        known = questions


def test_processes_that_append_and_remove_at_once_lose_nothing(shelf: Shelf, journal: Journal) -> None:
    """Each removes its own; those of the others stay."""
    with ExitStack() as stack:
        processes = [stack.enter_context(worker("journals", str(shelf.root), name)) for name in "abc"]
        assert [said(each) for each in processes] == ["ready"] * 3
        for each in processes:
            go(each)
        assert [said(each) for each in processes] == ["done"] * 3
    questions = _questions(journal)
    for name in "abc":
        assert [each for each in questions if each.startswith(name)] == [
            f"{name} {number}" for number in (1, 3, 5, 7, 9)
        ]
    assert len(questions) == 15


def test_a_call_that_did_not_reach_the_disk_is_not_in_the_journal(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk may say only at the end that it is full."""
    journal.append(call("one"), test="t")
    before = journal.path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CassetteError, match="the journal cannot be used: No space left on device"):
        journal.append(call("two"), test="t")
    assert journal.path.read_bytes() == before


def test_a_line_that_the_disk_takes_in_parts_is_whole(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest follows under the same lock."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:100]))
    journal.append(call("one"), test="t")
    assert _questions(journal) == ["one"]
