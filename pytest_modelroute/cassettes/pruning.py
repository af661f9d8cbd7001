"""
Removing what no test uses: interactions that the last runs did not replay, and cassettes whose tests are gone.

It goes by the notes of tests that have passed, and only by complete ones: where a test that uses a cassette has not
been noted for what the cassette holds now, nothing of it is removed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pytest_modelroute.cassettes.files import CassetteFile, read_cassette
from pytest_modelroute.cassettes.names import SUFFIXES, real_path
from pytest_modelroute.cassettes.recording import outcomes_of
from pytest_modelroute.cassettes.replayed import Replay, forget_replays, read_replays
from pytest_modelroute.cassettes.saving import save
from pytest_modelroute.cassettes.sources import is_gone, markers_of, sources_naming_cassettes
from pytest_modelroute.cassettes.state import locked
from pytest_modelroute.cassettes.wording import counted
from pytest_modelroute.errors import CassetteError

_LONGEST: Final = 120
"Names of tests from this length on are cut in names of cassettes."
NO_TEST: Final = "no test is known to use it"
_OWN: Final = re.compile(r"(?:\w+\.)*\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unused:
    """What can be removed of one cassette, or why nothing can be said of it."""

    path: Path
    interactions: int = 0
    "How many it holds."
    unused: tuple[int, ...] = ()
    "The positions of those that no test replays; the first is 0."
    whole: bool = False
    "Whether the whole file goes."
    reason: str = ""
    "Why; where nothing can be said: what is missing."
    run: tuple[str, ...] = ()
    "The tests that have to be run before anything can be said, by their ids."
    complete: bool = True
    "Whether everything is known that has to be."
    digest: str = ""
    gone: tuple[Replay, ...] = ()
    "Notes of tests that are not there any more."


def find_unused(paths: Sequence[Path], *, folder: Path, state: Path) -> list[Unused]:
    """
    What can be removed of each cassette.

    Args:
        paths: Of cassettes.
        folder: The folder of cassettes that they are in.
        state: The folder `.modelroute`; its own folder is that of the settings.

    Raises:
        CassetteError: One of them cannot be read, or leads out of the folder.

    """
    notes, sources = read_replays(state), sources_naming_cassettes(state.parent)
    found: list[Unused] = []
    by_name = {real_path(path, folder).relative_to(folder.resolve()).as_posix(): path for path in paths}
    for name, path in by_name.items():
        mine = [note for note in notes if note.cassette == name]
        named = markers_of(sources, {name, _without_suffix(name)})
        found.append(_judge(read_cassette(path), name, mine, named, state.parent))
    return found


def remove_unused(unused: Unused, *, folder: Path, state: Path, check: Callable[[str], None]) -> None:
    """
    Remove it.

    Args:
        unused: Of `find_unused`.
        folder: The folder of cassettes.
        state: The folder `.modelroute`.
        check: What must hold of the text that is saved.

    Raises:
        CassetteError: The cassette has changed since, or cannot be written; it is as it was.
        SecretsRemain: As `check` raised it.

    """
    if not unused.complete or not (unused.whole or unused.unused):
        return
    if unused.whole:
        _remove_file(unused, folder, state)
    else:
        save(unused.path, lambda current: _kept(current, unused), folder=folder, state=state, check=check)
    forget_replays(state, unused.gone)


def _judge(
    read: CassetteFile,
    name: str,
    notes: Sequence[Replay],
    named: Sequence[tuple[Path, str | None]],
    home: Path,
) -> Unused:
    path, held = read.path, len(read.interactions)
    gone = tuple(note for note in notes if is_gone(home / note.module, note.function))
    live = [note for note in notes if note not in gone]
    if not live and not named:
        reason = _why_gone(name, gone, home)
        if reason is None:
            return Unused(path=path, interactions=held, complete=False, reason=NO_TEST)
        return Unused(path=path, interactions=held, whole=True, reason=reason, digest=read.digest, gone=gone)
    if outcomes_of(path).exists():
        reason = f"calls of every model are recorded in it, for {outcomes_of(path).name}; record it anew to renew it"
        return Unused(path=path, interactions=held, complete=False, reason=reason)
    missing = _not_noted(named, live, home)
    older = [note.test for note in live if note.digest != read.digest]
    if missing or older:
        reason = "it has changed since its tests ran" if older else "not every test that uses it has run"
        run = tuple(dict.fromkeys([*older, *missing]))
        return Unused(path=path, interactions=held, complete=False, reason=reason, run=run)
    used = {position for note in live for position in note.played}
    unused = tuple(position for position in range(held) if position not in used)
    return Unused(
        path=path,
        interactions=held,
        unused=unused,
        whole=bool(unused) and len(unused) == held,
        reason=f"not replayed by {counted(len(live), 'test')} that {'uses' if len(live) == 1 else 'use'} it",
        digest=read.digest,
        gone=gone,
    )


def _why_gone(name: str, gone: Sequence[Replay], home: Path) -> str | None:
    """Why no test uses a cassette any more; None where that cannot be said."""
    if gone:
        return f"{_and([note.test for note in gone])} {'is' if len(gone) == 1 else 'are'} gone"
    folders, _, own = _without_suffix(name).rpartition("/")
    function = own.partition("[")[0]
    module = home / f"{folders}.py"
    # The module is there, so that this is the name of a test's own cassette.
    certain = folders and module.is_file() and _OWN.fullmatch(function) and len(function) < _LONGEST
    if certain and is_gone(module, function.split(".")):
        return f"{folders}.py has no test {function} any more"
    return None


def _not_noted(markers: Sequence[tuple[Path, str | None]], live: Sequence[Replay], home: Path) -> list[str]:
    """The tests that name a cassette, by their ids, of which no run is noted."""
    noted = {(note.module, note.function[-1] if note.function else "") for note in live}
    modules = {module for module, _ in noted}
    missing: list[str] = []
    for path, function in markers:
        module = path.relative_to(home).as_posix()
        if function is None:
            if module not in modules:
                missing.append(module)
        elif (module, function) not in noted:
            missing.append(f"{module}::{function}")
    return missing


def _remove_file(unused: Unused, folder: Path, state: Path) -> None:
    path = unused.path
    try:
        real = real_path(path, folder)
        with locked(state, str(real)):
            _check_unchanged(read_cassette(path), unused)
            path.unlink()
            outcomes_of(path).unlink(missing_ok=True)
    except OSError as error:
        raise CassetteError(f"{path}: it cannot be removed: {error.strerror}") from None


def _kept(current: CassetteFile, unused: Unused) -> list[dict[str, Any]]:
    _check_unchanged(current, unused)
    removed = frozenset(unused.unused)
    return [raw for position, raw in enumerate(current.raw) if position not in removed]


def _check_unchanged(current: CassetteFile, unused: Unused) -> None:
    if current.digest != unused.digest:
        raise CassetteError(f"{unused.path}: it has changed meanwhile, and nothing of it was removed; run prune again")


def _without_suffix(name: str) -> str:
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
