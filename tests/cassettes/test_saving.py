"""Saving a cassette: nothing is lost, whatever happens meanwhile."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from stat import S_IMODE
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelroute.cassettes.atomic import replace_whole
from pytest_modelroute.cassettes.files import CassetteFile, read_cassette
from pytest_modelroute.cassettes.interaction import Interaction
from pytest_modelroute.cassettes.names import cassette_path
from pytest_modelroute.cassettes.saving import accept, save
from pytest_modelroute.cassettes.state import locked
from pytest_modelroute.errors import CassetteError, SecretsRemain
from tests.cassettes.making import Shelf, call, plain
from tests.cassettes.strategies import interactions
from tests.cassettes.workers import go, said, worker


@pytest.fixture(name="shelf")
def _shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def _nothing(text: str) -> None:
    """No check."""


def _save(shelf: Shelf, path: Path, raw: list[dict[str, Any]]) -> None:
    save(path, lambda current: raw, folder=shelf.folder, state=shelf.state, check=_nothing)


def _problem(shelf: Shelf, path: Path, raw: list[dict[str, Any]] | None = None) -> str:
    with pytest.raises(CassetteError) as caught:
        _save(shelf, path, [call("new").to_raw()] if raw is None else raw)
    return str(caught.value)


def _vcrpy(path: Path) -> tuple[list[Any], list[Any]]:
    from vcr.persisters.filesystem import FilesystemPersister
    from vcr.serializers import yamlserializer

    requests, responses = FilesystemPersister.load_cassette(path, yamlserializer)
    return requests, responses


@given(st.lists(interactions, max_size=3), st.lists(interactions, max_size=2))
@settings(deadline=None, max_examples=40)
def test_what_is_saved_is_read_back_equal_and_in_order(first: list[Interaction], later: list[Interaction]) -> None:
    """In one save and in the next; of the facts, a save adds the checksum and the count."""
    with TemporaryDirectory() as root:
        shelf = Shelf(Path(root))
        shelf.put(*first)
        path = shelf.put(*later)
        assert [plain(each) for each in read_cassette(path).interactions] == [plain(each) for each in first + later]


@given(st.lists(interactions, min_size=1, max_size=3))
@settings(deadline=None, max_examples=40)
def test_vcrpy_reads_what_is_saved_and_what_it_saves_again_is_read(given: list[Interaction]) -> None:
    """Bodies byte for byte, and our facts with checksum and count."""
    from vcr.persisters.filesystem import FilesystemPersister
    from vcr.serializers import yamlserializer

    with TemporaryDirectory() as root:
        path = Shelf(Path(root)).put(*given)
        requests, responses = _vcrpy(path)
        assert [each.body or b"" for each in requests] == [each.request.body for each in given]
        assert [each["body"]["string"] for each in responses] == [each.response.body for each in given]
        before = read_cassette(path).interactions
        FilesystemPersister.save_cassette(path, {"requests": requests, "responses": responses}, yamlserializer)
        after = read_cassette(path).interactions
        assert [each.facts for each in after] == [each.facts for each in before]
        assert [each.response for each in after] == [each.response for each in before]


def test_a_cassette_that_vcrpy_recorded_into_is_read(shelf: Shelf) -> None:
    """Its `new_episodes` appends a call without facts, and writes the file anew."""
    import vcr
    from vcr.request import Request

    path = shelf.put(call("one"), call("two"))
    with vcr.VCR(record_mode="new_episodes", custom_patches=()).use_cassette(str(path)) as cassette:
        cassette.append(
            Request("GET", "https://a.test/", None, {}),
            {"status": {"code": 200, "message": "OK"}, "headers": {}, "body": {"string": b"x"}},
        )
    read = read_cassette(path)
    assert [None if each.facts is None else each.facts.count for each in read.interactions] == [None, 2, None]
    shelf.put(call("three"))
    counts = [None if each.facts is None else each.facts.count for each in read_cassette(path).interactions]
    assert counts == [None, None, None, 3]


def test_a_file_in_which_nothing_changes_is_not_touched(shelf: Shelf) -> None:
    """However it is formatted."""
    path = shelf.put(call("one"))
    path.write_text(f"# ours\n{path.read_text('utf-8')}", "utf-8")
    before = path.stat()
    save(path, lambda current: list(current.raw), folder=shelf.folder, state=shelf.state, check=_nothing)
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_cassette_without_a_call_is_not_made(shelf: Shelf) -> None:
    """A test that called nobody leaves no file."""
    assert not shelf.put().exists()


def test_keys_of_other_tools_are_kept(shelf: Shelf) -> None:
    """At the top and in interactions."""
    path = shelf.put(call("one"))
    path.write_text("by: them\n" + path.read_text("utf-8").replace("- request:", "- note: 7\n  request:"), "utf-8")
    shelf.put(call("two"))
    read = read_cassette(path)
    assert read.top == {"by": "them"}
    assert read.raw[0]["note"] == 7
    assert path.read_text("utf-8").endswith("\nversion: 1\n")


@pytest.mark.parametrize(("present", "expected"), [(None, 0o640), (0o600, 0o600), (0o664, 0o664)])
def test_the_mode_of_a_file_is_kept(shelf: Shelf, present: int | None, expected: int) -> None:
    """A new one has that of any new file."""
    before = os.umask(0o027)
    try:
        path = shelf.folder / "refund.yaml"
        if present is not None:
            shelf.put(call("one"))
            path.chmod(present)
        shelf.put(call("two"))
    finally:
        os.umask(before)
    assert S_IMODE(path.stat().st_mode) == expected


def test_a_file_that_cannot_be_read_is_never_overwritten(shelf: Shelf) -> None:
    """Not by a save, and not by vouching for it."""
    path = shelf.put(call("one"))
    cut = path.read_bytes()[:200]
    path.write_bytes(cut)
    assert "the file was cut" in _problem(shelf, path)
    with pytest.raises(CassetteError, match="the file was cut"):
        accept(path, folder=shelf.folder, state=shelf.state, check=_nothing)
    assert path.read_bytes() == cut


def test_a_file_that_would_hold_a_secret_is_not_written(shelf: Shelf) -> None:
    """The check is given the whole text."""
    path = shelf.put(call("one"))
    before = path.read_bytes()
    seen: list[str] = []

    def refuse(text: str) -> None:
        seen.append(text)
        raise SecretsRemain("in interaction 2")

    def grown(current: CassetteFile) -> list[dict[str, Any]]:
        return [*current.raw, call("two").to_raw()]

    with pytest.raises(SecretsRemain, match="in interaction 2"):
        save(path, grown, folder=shelf.folder, state=shelf.state, check=refuse)
    assert "one" in seen[0]
    assert "two" in seen[0]
    assert path.read_bytes() == before
    assert [each.name for each in shelf.folder.iterdir()] == ["refund.yaml"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"request": {}, "response": {}}, "interaction 1: it was not saved: request.method is text, not None"),
        (
            {**call("one").to_raw(), "note": object},
            (
                "it was not saved, since it cannot be written: Cassette not saved: the request or response contains a "
                "Python object that the safe YAML loader would refuse to load back ('tag:yaml.org,2002:python/name:"
            ),
        ),
    ],
    ids=["no interaction", "an object"],
)
def test_what_could_not_be_read_again_is_not_written(shelf: Shelf, raw: dict[str, Any], message: str) -> None:
    """The file stays as it is."""
    path = shelf.put(call("one"))
    before = path.read_bytes()
    assert _problem(shelf, path, [raw]).startswith(f"{path}: {message}")
    assert path.read_bytes() == before


def test_an_address_that_is_no_text_is_not_written(shelf: Shelf) -> None:
    """Half of a pair of surrogates has no form in UTF-8."""
    raw = call("one").to_raw()
    raw["request"]["uri"] = "https://a.test/\ud800"
    path = shelf.folder / "refund.yaml"
    assert _problem(shelf, path, [raw]).startswith(f"{path}: interaction 1: it was not saved: 'utf-8' codec can't")


def test_bytes_do_not_fit_into_json(shelf: Shelf) -> None:
    """The message says what does."""
    raw = call("one").to_raw()
    raw["response"]["body"]["string"] = b"\xff"
    path = shelf.folder / "refund.json"
    assert _problem(shelf, path, [raw]).startswith(
        f"{path}: it was not saved, since it cannot be written; a body that is no text needs a cassette in YAML: "
    )


def test_a_read_only_file_stays_as_it_is(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though its folder would let it be replaced."""
    path = shelf.put(call("one"))
    monkeypatch.setattr(os, "access", lambda *_: False)  # what the system says to anybody but root
    assert _problem(shelf, path) == f"{path}: it is read-only, and was not saved; make it writable to record into it"


def test_a_folder_that_is_a_file_is_an_error_of_the_cassette(shelf: Shelf) -> None:
    """Whether that of the cassettes or that of the locks; the second says where the calls still are."""
    path = shelf.folder / "refund.yaml"
    shelf.state.write_text("a file", "utf-8")
    assert _problem(shelf, path) == (
        f"{path}: it cannot be saved: Not a directory; the file is as it was, and calls that were recorded for it are "
        f"kept in {shelf.state / 'journal'}"
    )
    shelf.state.unlink()
    shelf.folder.write_text("a file", "utf-8")
    assert _problem(shelf, path) == f"{path}: it cannot be read: Not a directory"


def test_a_replacement_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """Here a folder stands where the file is to be."""
    (tmp_path / "refund.yaml").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        replace_whole(tmp_path / "refund.yaml", b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["refund.yaml"]


def test_an_edited_file_is_read_once_somebody_vouches_for_it(shelf: Shelf) -> None:
    """Checksums and count are made anew."""
    path = shelf.put(call("one"), call("two"), call("three"))
    text = path.read_text("utf-8").replace("two", "2")
    start, end = text.index("- request:"), text.index("- request:", text.index("- request:") + 1)
    path.write_text(text[:start] + text[end:], "utf-8")
    with pytest.raises(CassetteError, match="edited after it was recorded"):
        read_cassette(path)
    accept(path, folder=shelf.folder, state=shelf.state, check=_nothing)
    assert shelf.questions(path) == ["2", "three"]


def test_nobody_can_vouch_for_a_file_that_is_not_there(shelf: Shelf) -> None:
    """A name that was mistyped is an error."""
    path = shelf.folder / "refund.yaml"
    with pytest.raises(CassetteError) as caught:
        accept(path, folder=shelf.folder, state=shelf.state, check=_nothing)
    assert str(caught.value) == f"{path}: there is no such cassette"


@pytest.mark.parametrize(
    "point",
    ["before the write", "after half of the write", "before the replacement", "after the replacement"],
)
def test_a_process_killed_at_any_point_of_a_save_leaves_a_whole_file(shelf: Shelf, point: str) -> None:
    """The old one, or the new one; its lock is free, and the next save tidies up."""
    path = shelf.put(call("old"))
    with worker("stops", str(shelf.root), point) as process:
        assert said(process) == "here"
        process.kill()
    assert shelf.questions(path) == (["new"] if point == "after the replacement" else ["old"])
    shelf.put(call("next"))
    assert shelf.questions(path)[-1] == "next"
    assert [each.name for each in shelf.folder.iterdir()] == ["refund.yaml"]


def test_a_process_killed_anywhere_in_a_loop_of_saves_leaves_a_whole_file(shelf: Shelf) -> None:
    """Three kills, each when a later save begins."""
    for kill in range(1, 4):
        with worker("saves_for_ever", str(shelf.root)) as process:
            begun = [int(said(process)) for _ in range(kill + 1)][-1]
            process.kill()
            process.wait()
            rest = process.stdout.read().split() if process.stdout is not None else []
        last = int(rest[-1]) if rest else begun
        assert int(shelf.questions(shelf.folder / "refund.yaml")[0]) in (last - 1, last)


def test_processes_that_save_into_one_cassette_at_once_lose_nothing(shelf: Shelf) -> None:
    """Four of them, four saves each; each one's calls keep their order."""
    with ExitStack() as stack:
        processes = [stack.enter_context(worker("adds", str(shelf.root), name)) for name in "abcd"]
        assert [said(each) for each in processes] == ["ready"] * 4
        for each in processes:
            go(each)
        assert [said(each) for each in processes] == ["done"] * 4
    questions = shelf.questions(shelf.folder / "refund.yaml")
    for name in "abcd":
        assert [each for each in questions if each.startswith(name)] == [f"{name} {number}" for number in range(4)]
    assert len(questions) == 16


def _assert_full(process: subprocess.Popen[str], shelf: Shelf, reason: str) -> None:
    path = shelf.folder / "refund.yaml"
    assert said(process) == (
        f"{path}: it cannot be saved: {reason}; the file is as it was, and calls that were recorded for it are kept in "
        f"{shelf.state / 'journal'}"
    )
    journal = said(process)
    assert journal.startswith(f"{shelf.state / 'journal'}")
    assert journal.endswith(f".jsonl: the journal cannot be used: {reason}; what it held before is as it was")
    assert said(process) == "small small again"
    assert said(process) == """b'{"content": "small"}' b'{"content": "small again"}'"""
    assert said(process) == "['refund.yaml']"


@pytest.mark.skipif(sys.platform == "win32", reason="limits of processes are of POSIX")
def test_a_file_that_may_not_grow_leaves_the_old_one_and_the_journal(shelf: Shelf) -> None:
    """The system refuses the write half way, as a full disk does; what fits is saved afterwards."""
    with worker("meets_a_limit", str(shelf.root)) as process:
        _assert_full(process, shelf, "File too large")


def _may_mount() -> bool:
    tool = shutil.which("unshare")
    return tool is not None and subprocess.run([tool, "-rm", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _may_mount(), reason="a disk of its own needs the right to mount one")
def test_a_full_disk_leaves_the_old_file_and_the_journal(shelf: Shelf) -> None:
    """A disk of 100 kB that nobody else sees."""
    mount = f'mount -t tmpfs -o size=100k modelroute "{shelf.root}" && exec "$@"'
    with worker("fills", str(shelf.root), before=("unshare", "-rm", "sh", "-c", mount, "sh")) as process:
        _assert_full(process, shelf, "No space left on device")


def test_a_lock_that_is_not_given_back_names_its_process(shelf: Shelf) -> None:
    """And who waits gives up after a time."""
    with worker("holds", str(shelf.root)) as process:
        assert said(process) == "held"
        with pytest.raises(CassetteError) as caught, locked(shelf.state, "refund", wait=0.02):
            pytest.fail("two hold one lock")
        assert str(caught.value) == (
            f"refund: process {process.pid} has held its lock for 0.02 s; end that process, or wait for it, "
            "and run again"
        )
        go(process)
        process.wait()
    with locked(shelf.state, "refund", wait=0):
        pass


def test_what_may_be_lost_is_private_and_never_committed(shelf: Shelf) -> None:
    """The folder ignores itself, once."""
    shelf.put(call("one"))
    assert (shelf.state / ".gitignore").read_text("utf-8") == "*\n"
    assert S_IMODE((shelf.state / "locks").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("refund", "refund.yaml"),
        ("checkout/refund", "checkout/refund.yaml"),
        ("v1.2", "v1.2.yaml"),
        ("a.yml", "a.yml"),
        ("a.json", "a.json"),
        ("später [ü-1]", "später [ü-1].yaml"),
        ("a..b", "a..b.yaml"),
    ],
)
def test_a_name_is_a_file_in_the_folder(shelf: Shelf, name: str, file: str) -> None:
    """With the suffix of a cassette."""
    assert cassette_path(shelf.folder, name) == shelf.folder / file


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("/etc/refund", "is absolute"),
        ("C:/refund", "is absolute"),
        ("c:refund", "has the character ':', which some systems do not allow"),
        ("\\\\host\\share", "is absolute"),
        ("../refund", "leads out of the folder (..)"),
        ("a/../../b", "leads out of the folder (..)"),
        ("", "has an empty part"),
        ("a//b", "has an empty part"),
        ("a/", "has an empty part"),
        ("./a", "has an empty part"),
        ("..\\refund", "has the character '\\\\', which some systems do not allow"),
        ("a?b", "has the character '?', which some systems do not allow"),
        ("a\0b", "has the character '\\x00', which some systems do not allow"),
        ("a\nb", "has the character '\\n', which some systems do not allow"),
        ("ab:c", "has the character ':', which some systems do not allow"),
        ("a./b", "has a part that ends in a dot or a space, which some systems drop"),
        ("a ", "has a part that ends in a dot or a space, which some systems drop"),
        ("a/NUL", "has the part 'NUL', which is a device on Windows"),
        ("com1.yaml", "has the part 'com1.yaml', which is a device on Windows"),
        ("x" * 201, "has a part of more than 200 bytes"),
    ],
)
def test_a_name_that_some_system_does_not_take_or_that_leads_out_is_refused(
    shelf: Shelf, name: str, problem: str
) -> None:
    """Whichever system this is."""
    with pytest.raises(CassetteError) as caught:
        cassette_path(shelf.folder, name)
    assert str(caught.value) == (
        f"the cassette name {name!r} {problem}; a name such as checkout/refund was expected, "
        f"which is a file below {shelf.folder}"
    )


@pytest.mark.parametrize("link", ["a file", "a folder"])
def test_a_symlink_that_leads_out_of_the_folder_is_refused(shelf: Shelf, tmp_path: Path, link: str) -> None:
    """By name and, were it made meanwhile, by the save."""
    outside = tmp_path / "outside"
    outside.mkdir()
    shelf.folder.mkdir()
    name, path = ("refund", "refund.yaml") if link == "a file" else ("away/refund", "away/refund.yaml")
    inside = shelf.folder / ("refund.yaml" if link == "a file" else "away")
    inside.symlink_to(outside / "refund.yaml" if link == "a file" else outside)
    message = (
        f"{shelf.folder / path}: it leads out of {shelf.folder}, to {outside / 'refund.yaml'}; "
        "cassettes stay inside of their folder"
    )
    with pytest.raises(CassetteError) as caught:
        cassette_path(shelf.folder, name)
    assert str(caught.value) == message
    assert _problem(shelf, shelf.folder / path) == message
    assert list(outside.iterdir()) == []


def test_symlinks_in_a_circle_are_refused(shelf: Shelf) -> None:
    """They lead nowhere."""
    shelf.folder.mkdir()
    (shelf.folder / "a.yaml").symlink_to(shelf.folder / "b.yaml")
    (shelf.folder / "b.yaml").symlink_to(shelf.folder / "a.yaml")
    assert "cannot be" in _problem(shelf, shelf.folder / "a.yaml")


def test_a_symlink_inside_of_the_folder_stays_one(shelf: Shelf) -> None:
    """What it names is saved; the folder itself may be a symlink too."""
    real = shelf.put(call("one"))
    (shelf.folder / "same.yaml").symlink_to("refund.yaml")
    (shelf.root / "linked").symlink_to(shelf.folder)
    save(
        cassette_path(shelf.root / "linked", "same"),
        lambda current: [*current.raw, call("two").to_raw()],
        folder=shelf.root / "linked",
        state=shelf.state,
        check=_nothing,
    )
    assert (shelf.folder / "same.yaml").is_symlink()
    assert shelf.questions(real) == ["one", "two"]
