"""
The text of a cassette, read one interaction at a time.

Each is composed, checked and built before the next one, so that an error knows in which one it stands, and the nodes
of a whole file, ten times its size, are never in memory together.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, NoReturn

from pytest_modelroute.cassettes.facts import shown
from pytest_modelroute.errors import CassetteError

_LARGEST: Final = 1_000_000
"Nodes of one interaction, with each alias counted as what it stands for."
_CONFLICT: Final = re.compile(rb"^(?:<{7} |\|{7} |={7}\r?$|>{7} )", re.MULTILINE)
"What git leaves in a file; what vcrpy writes inside of a string is indented, so that no body looks like it."
_PAIR: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
"A character beyond the first 65536 as JSON escapes it, which YAML does not know."
_WAYS_OUT: Final = "take it back from version control, or record it again"
_FOREIGN: Final = "a cassette is a mapping with interactions and version"


@dataclass(slots=True, kw_only=True)
class Parsed:
    """What a cassette holds, as parsed."""

    raw: list[Any] = field(default_factory=list[Any])
    "The interactions."
    lines: list[int] = field(default_factory=list[int])
    "Where each of them begins."
    top: dict[str, Any] = field(default_factory=dict[str, Any])
    "Every other key of the file."
    places: dict[str, int] = field(default_factory=dict[str, int])
    "The line of each key of the file."


def broken(path: Path, problem: str, *, line: int | None = None, number: int = 0) -> CassetteError:
    """The one form of an error in a cassette: file, line and interaction (0 for none)."""
    where = str(path) if line is None else f"{path}:{line}"
    return CassetteError(f"{where}: interaction {number}: {problem}" if number else f"{where}: {problem}")


def parse(path: Path, data: bytes) -> Parsed:
    """
    Read the text of a cassette, YAML or JSON.

    Raises:
        CassetteError: It is damaged, or none; names file, line and interaction.

    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 at byte {error.start}; save the file as UTF-8, {_WAYS_OUT}"
        raise _at_byte(path, data, error.start, problem) from None
    if path.suffix == ".json":
        data = _PAIR.sub(_joined, text).encode()
    del text
    return _Parser(path, data).read()


def _joined(match: re.Match[str]) -> str:
    before, high, low = match.groups()
    return before + chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + (int(low, 16) - 0xDC00))


def _at_byte(path: Path, data: bytes, start: int, problem: str) -> CassetteError:
    """An error where only the byte is known."""
    before = _Parser(path, data[:start])
    with suppress(CassetteError):  # it ends too early, of course: what is asked for is the interaction in which it does
        before.read()
    return broken(path, problem, line=data.count(b"\n", 0, start) + 1, number=before.number)


@cache
def _loader() -> Any:
    """The safe loader of vcrpy, with libyaml where it is there, that composes node by node."""
    from vcr.serializers import yamlserializer  # pyright: ignore[reportMissingTypeStubs] - it has none
    from yaml.composer import Composer

    base: Any = getattr(yamlserializer, "_CassetteLoader")  # noqa: B009 - private, and the one that vcrpy loads with
    stepwise: Any = type("StepwiseLoader", (base, Composer), {})
    return stepwise


class _Parser:
    """One reading of one text."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.number = 0
        "The interaction that was begun last; 0 after the last one and before the first."
        self._path, self._line, self._parsed = path, 1, Parsed()
        marker = _CONFLICT.search(data)
        self._conflict = None if marker is None else data.count(b"\n", 0, marker.start()) + 1
        "The line of the first marker that a merge conflict left."
        self._loader: Any = None
        self._data = data
        self._sizes: dict[int, int] = {}
        "What each node unfolds to, by its identity; -1 while it is being measured."

    def read(self) -> Parsed:
        import yaml

        try:
            self._loader = _loader()(self._data)
            self._loader.anchors = {}
            self._read_document()
        except yaml.reader.ReaderError as error:
            problem = f"a character that no text file holds ({error.reason}); {_WAYS_OUT}"
            raise _at_byte(self._path, self._data, error.position, problem) from None
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            self._refuse_conflict()
            mark = getattr(error, "problem_mark", None)
            last = len(self._data.splitlines())  # where a file was cut, libyaml points behind its end
            self._refuse(self._reason(error), line=self._line if mark is None else min(mark.line + 1, last))
        self._refuse_conflict()
        return self._parsed

    def _read_document(self) -> None:
        from yaml import events

        loader = self._loader
        loader.get_event()  # the stream begins
        if loader.check_event(events.StreamEndEvent):
            self._refuse(f"there is nothing in it; {_FOREIGN}", line=1)
        loader.get_event()  # the document begins
        if not loader.check_event(events.MappingStartEvent):
            self._refuse_form()
        loader.get_event()
        while not loader.check_event(events.MappingEndEvent):
            self._read_key()
        loader.get_event()
        loader.get_event()  # the document ends
        if not loader.check_event(events.StreamEndEvent):
            line = loader.get_event().start_mark.line + 1
            self._refuse("a second document begins here (---); a cassette is one", line=line)
        if "interactions" not in self._parsed.places:
            self._refuse(f"not a cassette: it has no interactions; {_FOREIGN}", line=1)

    def _read_key(self) -> None:
        from yaml import events

        seen = self._parsed.places
        node = self._loader.compose_node(None, None)
        self._line = node.start_mark.line + 1
        key = self._build(node)
        if not isinstance(key, str):
            self._refuse(f"not a cassette: the key {shown(key)} is no text; {_FOREIGN}", line=self._line)
        if key in seen:
            self._refuse_twice(key, self._line, seen[key])
        seen[key] = self._line
        if key != "interactions":
            self._parsed.top[key] = self._build(self._loader.compose_node(None, None))
        elif self._loader.check_event(events.SequenceStartEvent):
            self._read_interactions()
        else:
            self._refuse(f"interactions is not a list; {_WAYS_OUT}", line=self._line)

    def _read_interactions(self) -> None:
        from yaml import events

        loader, parsed = self._loader, self._parsed
        loader.get_event()
        while not loader.check_event(events.SequenceEndEvent):
            self.number += 1
            self._line = loader.peek_event().start_mark.line + 1
            node = loader.compose_node(None, None)
            if self._conflict is not None and self._conflict <= node.end_mark.line:
                self._refuse_conflict()
            parsed.lines.append(self._line)
            parsed.raw.append(self._build(node))
        loader.get_event()
        self.number = 0

    def _build(self, node: Any) -> Any:
        loader = self._loader
        if self._measure(node) > _LARGEST:
            self._refuse(f"its aliases stand for more than {_LARGEST} values", line=node.start_mark.line + 1)
        built = loader.construct_object(node, deep=True)
        # What is built is let go; of what is measured, what an alias may still name.
        loader.constructed_objects = {}
        named = {id(anchored) for anchored in loader.anchors.values()}
        self._sizes = {each: size for each, size in self._sizes.items() if each in named} if named else {}
        return built

    def _measure(self, node: Any) -> int:
        """How many values a node unfolds to; its keys are checked on the way."""
        if isinstance(node.value, str):
            return 1
        known = self._sizes.get(id(node))
        if known == -1:
            self._refuse("an alias stands for what it is in", line=node.start_mark.line + 1)
        if known is not None:
            return known
        self._sizes[id(node)] = -1
        children: list[Any] = node.value
        if node.id == "mapping":
            self._refuse_equal_keys(children)
            children = [value for _, value in children]
        size = 1 + sum(map(self._measure, children))
        self._sizes[id(node)] = size
        return size

    def _refuse_equal_keys(self, pairs: list[tuple[Any, Any]]) -> None:
        seen: dict[tuple[str, str], Any] = {}
        for key, _ in pairs:
            if not isinstance(key.value, str):
                continue  # a list or a mapping, which the constructor refuses
            first = seen.setdefault((key.tag, key.value), key)
            if first is not key:
                self._refuse_twice(key.value, key.start_mark.line + 1, first.start_mark.line + 1)

    def _refuse_twice(self, key: str, line: int, first: int) -> NoReturn:
        # A key that stands twice is what a conflict leaves when its markers are inside of strings.
        self._refuse_conflict()
        self._refuse(f"the key {key!r} stands here a second time, first in line {first}; keep one of them", line=line)

    def _refuse_conflict(self) -> None:
        if self._conflict is not None:
            self._refuse(
                "a merge conflict was left in the file; take one side whole (git checkout --ours or --theirs), "
                "or record it again",
                line=self._conflict,
            )

    def _refuse_form(self) -> NoReturn:
        self._refuse_conflict()
        node = self._loader.compose_node(None, None)
        if node.id == "sequence" and node.value and node.value[0].id == "mapping":
            keys = {key.value for key, _ in node.value[0].value if isinstance(key.value, str)}
            if "request" in keys:
                self._refuse(
                    "a list of interactions is the form that vcrpy wrote before 1.0; "
                    "migrate it (python -m vcr.migration FILE), or record it again",
                    line=1,
                )
        what = {"sequence": "a list", "scalar": "a text"}[node.id]
        self._refuse(f"not a cassette: it is {what}; {_FOREIGN}", line=node.start_mark.line + 1)

    def _refuse(self, problem: str, *, line: int) -> NoReturn:
        raise broken(self._path, problem, line=line, number=self.number) from None

    def _reason(self, error: Exception) -> str:
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        if isinstance(error, RecursionError) or "nesting depth" in problem:  # libyaml counts since 0.2.6
            return "it is nested too deeply for a cassette"
        if problem.startswith("could not determine a constructor"):
            return f"a cassette holds no objects of programs ({problem}); record it again"
        language = "JSON" if self._path.suffix == ".json" else "YAML"
        return f"not {language} ({problem}); the file was cut or edited: {_WAYS_OUT}"
