"""
Notes of what tests replay: which interactions of which content of a cassette a test that passed has used.

One small file for each test and cassette, in `.modelroute/replayed`. They may be deleted at any time: pruning then asks
for the tests to be run once more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, Final, cast

from pytest_modelroute.cassettes.state import part_of, short_hash

FOLDER: Final = "replayed"
_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What one test has replayed of one cassette."""

    test: str
    "The id of the test."
    module: str
    "Its file, relative to the folder of the settings where it is below it."
    cassette: str
    "Relative to the folder of cassettes, with / between its parts."
    shared: bool
    "Whether the test names the cassette, as others may do too."
    digest: str
    "Of the bytes of the cassette."
    played: tuple[int, ...]
    "The positions of its interactions, each once; the first is 0."

    @property
    def function(self) -> tuple[str, ...]:
        """The names of the classes around the test and of its function, without parameters."""
        return tuple(name.partition("[")[0] for name in self.test.split("::")[1:])


def note_replay(state: Path, replay: Replay) -> None:
    """Note what a test has replayed; nothing is written where that is known, and failing to write is no error."""
    said = {
        "schema": _SCHEMA,
        "test": replay.test,
        "module": replay.module,
        "cassette": replay.cassette,
        "shared": replay.shared,
        "digest": replay.digest,
        "played": list(replay.played),
    }
    data = json.dumps(said).encode("ascii")
    path = note_of(state, replay.cassette, replay.test)
    with suppress(OSError):
        if path.exists() and path.read_bytes() == data:
            return
        part_of(state, FOLDER)
        # Not on the disk for certain, as a cassette has to be: what is lost costs one more run.
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(data)
        temporary.replace(path)


def read_replays(state: Path) -> list[Replay]:
    """All that is noted, by test; a note that cannot be read counts as none."""
    notes: list[Replay] = []
    for path in sorted((state / FOLDER).glob("*.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            notes.append(_read(json.loads(path.read_bytes())))
    return sorted(notes, key=lambda note: (note.cassette, note.test))


def forget_replays(state: Path, replays: Iterable[Replay]) -> None:
    """Remove notes; what cannot be removed stays."""
    for replay in replays:
        with suppress(OSError):
            note_of(state, replay.cassette, replay.test).unlink(missing_ok=True)


def record_command(cassette: str, replays: Iterable[Replay]) -> str:
    """What records a cassette again, as far as it is known which tests use it."""
    tests = [quote(replay.test) for replay in replays if replay.cassette == cassette]
    return f"pytest {' '.join(tests) or 'TEST'} --modelroute-record=all"


def note_of(state: Path, cassette: str, test: str) -> Path:
    """The file of a note."""
    return state / FOLDER / f"{short_hash(cassette)}-{short_hash(test)}.json"


def _read(said: Any) -> Replay:
    note = cast("dict[str, Any]", said)
    texts = [note[name] for name in ("test", "module", "cassette", "digest")]
    played = cast("list[object]", note["played"])
    positions = [each for each in played if type(each) is int and each >= 0]
    if note["schema"] != _SCHEMA or not all(isinstance(text, str) for text in texts) or len(positions) != len(played):
        raise ValueError("not a note of this version")
    return Replay(
        test=note["test"],
        module=note["module"],
        cassette=note["cassette"],
        shared=bool(note["shared"]),
        digest=note["digest"],
        played=tuple(positions),
    )
