"""Cassettes on the disk: what is read, and how a damaged file says where it is damaged."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_modelroute.cassettes.files import read_cassette
from pytest_modelroute.cassettes.interaction import RecordedResponse
from pytest_modelroute.errors import CassetteError
from tests.cassettes.making import Shelf, call, question_of

LEAVE = "take it back from version control, or record it again"
VOUCH = (
    "record it again (pytest --modelroute-record=all with the test that uses it), "
    "or vouch for what is there: modelroute cassettes accept {path}"
)
FORM = "a cassette is a mapping with interactions and version"
CUT = f"the file was cut or edited: {LEAVE}"
CONFLICT = (
    "a merge conflict was left in the file; take one side whole (git checkout --ours or --theirs), or record it again"
)


@pytest.fixture(name="shelf")
def _shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture(name="three")
def _three(shelf: Shelf) -> Path:
    """A cassette of three calls, which begin at lines 2, 24 and 46; `version: 1` is line 69."""
    return shelf.put(call("one"), call("two"), call("three"))


def _parts(text: str) -> list[str]:
    """What is before the first interaction, each of the three, and the version."""
    first, *others = text.split("- request:")
    last, version = others.pop().split("version:")
    return [first, *(f"- request:{each}" for each in [*others, last]), f"version:{version}"]


def _problem(path: Path) -> str:
    with pytest.raises(CassetteError) as caught:
        read_cassette(path)
    return str(caught.value)


def _swap(old: str, new: str) -> Callable[[str], str]:
    def swapped(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return swapped


def _pick(*numbers: int) -> Callable[[str], str]:
    return lambda text: "".join(_parts(text)[number] for number in numbers)


def _bomb(text: str) -> str:
    rows = [
        f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]" for before, name in zip("abcdef", "bcdefg", strict=True)
    ]
    return "\n".join(["a: &a [x]", *rows, text])


def test_a_file_is_read_whole(three: Path) -> None:
    """Interactions in order, with their lines."""
    read = read_cassette(three)
    assert [question_of(each) for each in read.interactions] == ["one", "two", "three"]
    assert read.lines == [2, 24, 46]
    assert [each["request"]["uri"] for each in read.raw] == [each.request.url for each in read.interactions]
    assert read.exists


def test_a_file_that_does_not_exist_is_an_empty_cassette(tmp_path: Path) -> None:
    """A new cassette begins there."""
    read = read_cassette(tmp_path / "new.yaml")
    assert (read.raw, read.interactions, read.digest, read.exists) == ([], [], "", False)


def test_keys_of_other_tools_are_kept(three: Path) -> None:
    """Beside the interactions and inside of them."""
    three.write_text("by: them\n" + three.read_text("utf-8").replace("- request:", "- note: 7\n  request:"), "utf-8")
    read = read_cassette(three)
    assert read.top == {"by": "them"}
    assert [each["note"] for each in read.raw] == [7, 7, 7]


@pytest.mark.parametrize("text", ["", " \n\n", "\t", "\0\0\0\0"], ids=["empty", "blank", "a tab", "zeros"])
def test_an_empty_file_is_not_taken_for_a_new_one(tmp_path: Path, text: str) -> None:
    """A crash of the machine leaves such files: what was in them was paid for."""
    path = tmp_path / "refund.yaml"
    path.write_text(text, "utf-8")
    assert _problem(path) == (
        f"{path}:1: the file is empty; take it back from version control, or delete it and record it again"
    )


DAMAGES: dict[str, tuple[Callable[[str], str], str]] = {
    "cut in a string": (
        lambda text: text[: text.index("two")],
        f"25: interaction 2: not YAML (found unexpected end of stream); {CUT}",
    ),
    "cut in a key": (
        lambda text: text[: text.index("uri:", text.index("two")) + 2],
        f"30: interaction 2: not YAML (could not find expected ':'); {CUT}",
    ),
    "cut between interactions": (
        _pick(0, 1, 2),
        (f"24: interaction 2: the file was cut: its version is missing, which is the last line of a cassette; {LEAVE}"),
    ),
    "cut at the end of a line": (
        lambda text: text[: text.index("    headers", text.index("two"))],
        f"24: interaction 2: the file was cut: its version is missing, which is the last line of a cassette; {LEAVE}",
    ),
    "cut and mended": (
        _pick(0, 1, 2, 4),
        (
            "24: interaction 2: the file was cut after this interaction "
            f"(the last one recorded holds their count, and this has none); {VOUCH}"
        ),
    ),
    "no version and no interaction": (
        lambda text: "interactions: []\n",
        (f"1: the file was cut: its version is missing, which is the last line of a cassette; {LEAVE}"),
    ),
    "an interaction removed": (
        _pick(0, 1, 3, 4),
        f"24: interaction 2: interactions were removed or added by hand (3 were recorded, 2 are there); {VOUCH}",
    ),
    "reordered": (
        _pick(0, 3, 1, 2, 4),
        f"2: interaction 1: the file was merged by hand (this interaction was the last one of a file); {VOUCH}",
    ),
    "two files in one": (
        _pick(0, 1, 3, 2, 3, 4),
        f"24: interaction 2: the file was merged by hand (this interaction was the last one of a file); {VOUCH}",
    ),
    "conflict between interactions": (
        lambda text: text.replace("- request:", "<<<<<<< HEAD\n- request:", 2).replace("<<<<<<< HEAD\n", "", 1),
        f"24: interaction 1: {CONFLICT}",
    ),
    "conflict in a string": (_swap('"two"', '"two\n<<<<<<< HEAD\n"'), f"26: interaction 2: {CONFLICT}"),
    "the middle of a conflict": (_swap('"two"', '"two\n=======\n"'), f"26: interaction 2: {CONFLICT}"),
    "the middle of a conflict on Windows": (_swap('"two"', '"two\n=======\r\n"'), f"26: interaction 2: {CONFLICT}"),
    "the base of a conflict": (_swap('"two"', '"two\n||||||| base\n"'), f"26: interaction 2: {CONFLICT}"),
    "the end of a conflict": (_swap('"two"', '"two\n>>>>>>> theirs\n"'), f"26: interaction 2: {CONFLICT}"),
    "conflict at the start": (lambda text: f"<<<<<<< HEAD\n{text}", f"1: {CONFLICT}"),
    "conflict at the end": (lambda text: f"{text}>>>>>>> theirs\n", f"70: {CONFLICT}"),
    "conflict in a string outside": (lambda text: f"{text}note: 'a\n=======\n'\n", f"71: {CONFLICT}"),
    "conflict and keys twice": (
        lambda text: text.replace("version: 1", "note: 'a\n=======\n'\nversion: 1\nversion: 1"),
        f"70: {CONFLICT}",
    ),
    "interactions twice": (
        lambda text: f"{text}interactions: []\n",
        "70: the key 'interactions' stands here a second time, first in line 1; keep one of them",
    ),
    "a key twice": (
        _swap("method: POST", "method: POST\n    method: GET"),
        "8: interaction 1: the key 'method' stands here a second time, first in line 7; keep one of them",
    ),
    "two documents": (
        lambda text: f"{text}---\n{text}",
        "70: a second document begins here (---); a cassette is one",
    ),
    "a comment alone": (lambda text: "# gone\n", f"1: there is nothing in it; {FORM}"),
    "a text": (lambda text: "<html>Sign in</html>\n", f"1: not a cassette: it is a text; {FORM}"),
    "a list": (lambda text: "- 1\n", f"1: not a cassette: it is a list; {FORM}"),
    "a list of mappings": (lambda text: "- a: 1\n", f"1: not a cassette: it is a list; {FORM}"),
    "vcrpy before 1.0": (
        lambda text: "- request: {}\n  response: {}\n",
        (
            "1: a list of interactions is the form that vcrpy wrote before 1.0; "
            "migrate it (python -m vcr.migration FILE), or record it again"
        ),
    ),
    "another file": (lambda text: "name: ci\nsteps: []\n", f"1: not a cassette: it has no interactions; {FORM}"),
    "a key that is no text": (
        lambda text: "name: ci\non: [push]\n",
        f"2: not a cassette: the key True is no text; {FORM}",
    ),
    "interactions that are no list": (
        lambda text: "interactions: 3\nversion: 1\n",
        f"1: interactions is not a list; {LEAVE}",
    ),
    "a later version": (
        _swap("version: 1", "version: 2"),
        "69: version 2 is later than the one that is known, 1; upgrade pytest-modelroute",
    ),
    "a version that is no number": (
        _swap("version: 1", "version: '1'"),
        "69: version '1' is not the one that is known, 1; record it again",
    ),
    "an interaction without an address": (
        _swap("uri:", "url:"),
        "2: interaction 1: request.uri is text, not None",
    ),
    "an interaction that is none": (
        lambda text: "interactions:\n- 3\nversion: 1\n",
        "2: interaction 1: an interaction is a mapping with request and response, not 3",
    ),
    "a later schema": (
        _swap("schema: 1", "schema: 2"),
        (
            "2: interaction 1: it was written by a later version of pytest-modelroute "
            "(schema 2; this one reads up to 1): upgrade pytest-modelroute"
        ),
    ),
    "an edited request": (
        _swap("two", "2"),
        f"24: interaction 2: it was edited after it was recorded (its checksum does not hold); {VOUCH}",
    ),
    "an edited latency": (
        _swap("latency_s: 0.25", "latency_s: 0.01"),
        f"2: interaction 1: it was edited after it was recorded (its checksum does not hold); {VOUCH}",
    ),
    "an object of a program": (
        _swap("method: POST", "method: !!python/object:os.system {}"),
        (
            "7: interaction 1: a cassette holds no objects of programs (could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object:os.system'); record it again"
        ),
    ),
    "a control character": (
        _swap("two", "t\0o"),
        f"25: interaction 2: a character that no text file holds (control characters are not allowed); {LEAVE}",
    ),
    "a date that does not exist": (
        lambda text: f"{text}day: 2026-13-45\n",
        f"70: not YAML (month must be in 1..12); {CUT}",
    ),
    "aliases without end": (_bomb, "7: its aliases stand for more than 1000000 values"),
    "aliases without end as a key": (
        lambda text: _bomb(text).replace("g: ", "? "),
        "7: its aliases stand for more than 1000000 values",
    ),
    "an alias for what it is in": (
        lambda text: "interactions:\n- &a\n  request: *a\n  response: {}\nversion: 1\n",
        "2: interaction 1: an alias stands for what it is in",
    ),
    "a mapping as a key": (
        lambda text: "interactions:\n- ? {a: 1}\n  : 2\nversion: 1\n",
        f"2: interaction 1: not YAML (found unhashable key); {CUT}",
    ),
    "nested without end": (
        # Where libyaml counts, it names the line itself: here it is the interaction's own.
        lambda text: f"interactions:\n- request: {'[' * 3000}\n",
        "2: interaction 1: it is nested too deeply for a cassette",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_gets_one_error_with_file_line_and_interaction(three: Path, name: str) -> None:
    """Whatever was done to it."""
    damage, message = DAMAGES[name]
    three.write_bytes(damage(three.read_text("utf-8")).encode())
    assert _problem(three) == f"{three}:{message}".replace("{path}", str(three))


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [(b"two", b"tw\xe9", "25: interaction 2: not UTF-8 at byte 664"), (b"", b"\xff\xfe", "1: not UTF-8 at byte 0")],
    ids=["a letter of Latin-1", "the mark of UTF-16"],
)
def test_a_file_that_is_not_utf8_is_not_overwritten_as_if_it_were_empty(
    three: Path, old: bytes, new: bytes, where: str
) -> None:
    """The byte, the line and the interaction are named."""
    three.write_bytes(three.read_bytes().replace(old, new, 1))
    assert _problem(three) == f"{three}:{where}; save the file as UTF-8, {LEAVE}"


def test_a_folder_is_no_cassette(tmp_path: Path) -> None:
    """What the system says is passed on."""
    assert _problem(tmp_path) == f"{tmp_path}: it cannot be read: Is a directory"


@pytest.mark.parametrize(
    "change",
    [lambda text: f"\ufeff{text}", lambda text: text.replace("\n", "\r\n"), lambda text: f"# ours\n\n{text}"],
    ids=["a mark of UTF-8", "ends of lines of Windows", "a comment"],
)
def test_what_editors_do_is_no_damage(three: Path, change: Callable[[str], str]) -> None:
    """The calls are the same."""
    before = read_cassette(three).interactions
    three.write_bytes(change(three.read_text("utf-8")).encode())
    assert read_cassette(three).interactions == before


def test_calls_that_another_tool_added_are_read(shelf: Shelf, three: Path) -> None:
    """Between ours and after them: they have no facts, and no count to keep."""
    first, one, two, last, version = _parts(three.read_text("utf-8"))
    theirs = re.sub(r"    modelroute:\n(      .*\n)+", "", one)
    assert "modelroute" not in theirs
    three.write_text(f"{first}{one}{theirs}{two}{last}{theirs}{version}", "utf-8")
    assert shelf.questions(three) == ["one", "one", "two", "three", "one"]


def test_a_cassette_of_another_tool_alone_is_read(shelf: Shelf) -> None:
    """There is nothing of ours to check."""
    assert shelf.questions(shelf.put(call("one", facts=False))) == ["one"]


def test_an_edit_that_somebody_vouched_for_by_hand_is_read(three: Path) -> None:
    """An empty checksum is not checked."""
    text = re.sub(r"checksum: .*", "checksum: ''", three.read_text("utf-8")).replace("two", "2")
    three.write_text(text, "utf-8")
    assert question_of(read_cassette(three).interactions[1]) == "2"


def test_aliases_of_yaml_are_read(shelf: Shelf) -> None:
    """Vcrpy writes them where two interactions share their headers; a merge key adds to what it names."""
    shelf.folder.mkdir()
    path = shelf.folder / "shared.yaml"
    path.write_text(
        "base: &base {method: GET, uri: https://a.test/, body: null}\n"
        "interactions:\n"
        "- request: {<<: *base, headers: &h {accept: [a]}}\n"
        "  response: &r {status: {code: 200, message: OK}, headers: *h, body: {string: x}}\n"
        "- request: {<<: *base, uri: https://b.test/}\n"
        "  response: *r\n"
        "version: 1\n",
        "utf-8",
    )
    first, second = read_cassette(path).interactions
    assert (first.request.url, second.request.url) == ("https://a.test/", "https://b.test/")
    assert first.response.headers == second.response.headers == (("accept", "a"),)


@pytest.mark.parametrize("tag", ["!!python/object/apply:builtins.iter", "!!python/object/new:_io.BytesIO"])
def test_a_body_that_was_sent_from_a_file_or_an_iterator_stays_in_the_raw_form(shelf: Shelf, tag: str) -> None:
    """Vcrpy keeps them as such; reading one must not use it up."""
    held = "args: [[a, b]]" if "iter" in tag else "state: !!python/tuple [!!binary YWI=, 0, null]"
    shelf.folder.mkdir()
    path = shelf.folder / "sent.yaml"
    path.write_text(
        f"interactions:\n- request: {{method: PUT, uri: 'https://a.test/', headers: {{}}, body: {tag} {{{held}}}}}\n"
        "  response: {status: {code: 200, message: OK}, headers: {}, body: {string: x}}\nversion: 1\n",
        "utf-8",
    )
    read = read_cassette(path)
    assert read.interactions[0].request.body == b"ab"
    kept = read.raw[0]["request"]["body"]
    assert (b"".join(each.encode() for each in kept) if "iter" in tag else kept.read()) == b"ab"


def test_json_cassettes_are_read(shelf: Shelf) -> None:
    """Of vcrpy's other serialiser, with characters as JSON escapes them."""
    path = shelf.put(
        call("a \U0001f600\U0001f600, a \\ud83d\\ude00 and a \\\U0001f600"), call("two"), name="refund.json"
    )
    assert "\\\\ud83d" in path.read_text("ascii")
    assert shelf.questions(path) == ["a \U0001f600\U0001f600, a \\ud83d\\ude00 and a \\\U0001f600", "two"]


def test_a_json_cassette_may_hold_any_character(shelf: Shelf) -> None:
    """Beyond the first 65536 JSON writes two escapes, also after others, and a backslash before them is none."""
    body = "\U0001f600\U0001f469 \\\U0001f600 \\ud83d\\ude00".encode()
    path = shelf.put(replace(call("one"), response=RecordedResponse(status=200, body=body)), name="refund.json")
    assert "\\ud83d\\ude00\\ud83d\\udc69" in path.read_text("ascii")
    assert read_cassette(path).interactions[0].response.body == body


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda text: text[: text.index("two")],
            f"41: interaction 2: not JSON (found unexpected end of stream); {CUT}",
        ),
        (
            _swap('"interactions"', '"version"'),
            "3: the key 'version' stands here a second time, first in line 2; keep one of them",
        ),
        (
            _swap('"version": 1', '"version": 2'),
            "2: version 2 is later than the one that is known, 1; upgrade pytest-modelroute",
        ),
    ],
    ids=["cut", "a key twice", "a later version"],
)
def test_a_damaged_json_cassette_says_so(shelf: Shelf, change: Callable[[str], str], message: str) -> None:
    """In the same words as one in YAML."""
    path = shelf.put(call("one"), call("two"), name="refund.json")
    path.write_text(change(path.read_text("utf-8")), "utf-8")
    assert _problem(path) == f"{path}:{message}"
