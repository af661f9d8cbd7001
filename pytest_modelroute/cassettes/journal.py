"""The journal of a cassette: every call that was paid for, from the moment its reply was complete until it is saved."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, TypeVar, cast
from uuid import uuid4

from pytest_modelroute.cassettes.atomic import remove_left_over, replace_whole
from pytest_modelroute.cassettes.interaction import Interaction
from pytest_modelroute.cassettes.lines import from_line, to_line
from pytest_modelroute.cassettes.state import locked, part_of, short_hash
from pytest_modelroute.errors import CassetteError

FOLDER: Final = "journal"
_PRIVATE: Final = 0o600
_NAME_LENGTH: Final = 60
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A call that is not in its cassette yet."""

    id: str
    "Unlike that of any other entry."
    test: str
    "The id of the test that recorded it."
    interaction: Interaction


class Journal:
    """
    The calls recorded for one cassette that are not saved yet, of all processes.

    What is given to it must be free of secrets already: it is a file. The file and its folder can be read by their
    owner alone.

    Attributes:
        path: The file, one JSON object a line; there is none while nothing waits.

    """

    def __init__(self, state: Path, cassette: str) -> None:
        """Open none yet; `state` is the folder `.modelroute`, and `cassette` the name or path of the cassette."""
        name = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in cassette)
        readable = name.encode("ascii", "replace").decode().replace("?", "_")[-_NAME_LENGTH:]
        self._state = state.resolve()
        self.path = self._state / FOLDER / f"{readable}-{short_hash(cassette)}.jsonl"

    def append(self, interaction: Interaction, *, test: str) -> str:
        """
        Keep one call, on the disk when this returns, and return the id of its entry.

        Raises:
            CassetteError: It cannot be written; the entries before it are as they were.

        """
        entry = Entry(id=uuid4().hex, test=test, interaction=interaction)
        self._under_lock(lambda: self._append(_write(entry)))
        return entry.id

    def entries(self) -> list[Entry]:
        """
        What waits, in the order recorded.

        A last line that was cut, by a process killed while it wrote, counts as not written.

        Raises:
            CassetteError: The file is damaged otherwise; names the line.

        """
        return self._under_lock(lambda: list(self._read()))

    def read(self) -> list[Interaction]:
        """
        The interactions of what waits, in the order recorded.

        Raises:
            CassetteError: The file is damaged; names the line.

        """
        return [entry.interaction for entry in self.entries()]

    def remove(self, ids: Collection[str]) -> None:
        """
        Forget the entries of these ids, once they are saved; what came meanwhile stays.

        Raises:
            CassetteError: The file is damaged or cannot be replaced; it is as it was.

        """
        self._under_lock(lambda: self._remove(frozenset(ids)))

    def clear(self) -> None:
        """
        Forget everything, also what cannot be read.

        Raises:
            CassetteError: The file cannot be removed.

        """
        self._under_lock(lambda: self.path.unlink(missing_ok=True))

    def _under_lock(self, work: Callable[[], _Result]) -> _Result:
        try:
            part_of(self._state, FOLDER)
            with locked(self._state, str(self.path)):
                return work()
        except OSError as error:
            raise CassetteError(
                f"{self.path}: the journal cannot be used: {error.strerror}; what it held before is as it was"
            ) from error

    def _append(self, line: bytes) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        file = os.open(self.path, flags, _PRIVATE)
        try:
            self.path.chmod(_PRIVATE)
            size = self._end_line(file)
            try:
                _put(file, line)
            except OSError:
                os.ftruncate(file, size)
                raise
        finally:
            os.close(file)

    def _end_line(self, file: int) -> int:
        """Let the file end with a whole line, and return its size: what a killed process cut is in nobody's way."""
        size = os.lseek(file, 0, os.SEEK_END)
        if size == 0:
            return 0
        os.lseek(file, size - 1, os.SEEK_SET)
        if os.read(file, 1) == b"\n":
            return size
        data = self.path.read_bytes()
        kept = data.rfind(b"\n") + 1
        if _entry(data[kept:]) is None:
            os.ftruncate(file, kept)
            return kept
        os.write(file, b"\n")
        return size + 1

    def _read(self) -> Iterator[Entry]:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        lines = data.split(b"\n")
        for number, line in enumerate(lines, start=1):
            entry = _entry(line)
            if entry is not None:
                yield entry
            elif number < len(lines):
                raise CassetteError(
                    f"{self.path}:{number}: the journal is damaged, and the calls in it are not saved yet; "
                    "delete this line to give up its call, or the file to give up all of them"
                )

    def _remove(self, ids: frozenset[str]) -> None:
        entries = list(self._read())
        kept = [entry for entry in entries if entry.id not in ids]
        if len(kept) == len(entries):
            return
        remove_left_over(self.path)
        if kept:
            replace_whole(self.path, b"".join(map(_write, kept)), mode=_PRIVATE)
        else:
            self.path.unlink()


def _put(file: int, line: bytes) -> None:
    """One write of one line, on the disk when it returns."""
    rest = line[os.write(file, line) :]
    while rest:  # the disk took a part: the next write says why, or takes more
        rest = rest[os.write(file, rest) :]
    os.fsync(file)


def _write(entry: Entry) -> bytes:
    said = {"id": entry.id, "test": entry.test, **to_line(entry.interaction)}
    return json.dumps({"digest": _digest(said), **said}).encode("ascii") + b"\n"


def _entry(line: bytes) -> Entry | None:
    """The entry of a line, or None where it is none of ours, or not whole."""
    with suppress(ValueError, KeyError, TypeError, CassetteError):
        read: object = json.loads(line)
        said = cast("dict[str, Any]", read) if isinstance(read, dict) else {}
        if said.pop("digest") == _digest(said):
            return Entry(id=said["id"], test=said["test"], interaction=from_line(said))
    return None


def _digest(said: dict[str, Any]) -> str:
    return blake2b(json.dumps(said, sort_keys=True).encode("ascii"), digest_size=8).hexdigest()
