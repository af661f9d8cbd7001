"""Saving a cassette: nothing is lost to another process, a kill or a full disk, and nothing unread is overwritten."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from stat import S_IMODE
from typing import Any, cast

from pytest_modelroute.cassettes.atomic import remove_left_over, replace_whole
from pytest_modelroute.cassettes.facts import KEY, Facts
from pytest_modelroute.cassettes.files import VERSION, CassetteFile, interaction_of, read_cassette
from pytest_modelroute.cassettes.interaction import Interaction, checksum
from pytest_modelroute.cassettes.journal import FOLDER as JOURNAL
from pytest_modelroute.cassettes.names import real_path
from pytest_modelroute.cassettes.parsing import broken
from pytest_modelroute.cassettes.state import locked
from pytest_modelroute.errors import CassetteError

Check = Callable[[str], None]
"Is given the text that would be saved; raises SecretsRemain where it holds a secret."


def save(
    path: Path, change: Callable[[CassetteFile], list[dict[str, Any]]], *, folder: Path, state: Path, check: Check
) -> None:
    """
    Change a cassette under its lock: it is read as it is now, and replaced whole.

    A file whose interactions stay as they are is not touched.

    Args:
        path: Of `cassette_path`.
        change: Is given what is there, and returns the interactions in vcrpy's form that are to be there. Those with
            facts get their checksum and count.
        folder: The folder of cassettes.
        state: The folder `.modelroute`.
        check: What must hold of the text before any of it is written.

    Raises:
        CassetteError: The file cannot be read, locked or written, or leads out of the folder; it is as it was.
        SecretsRemain: As `check` raised it; the file is as it was.

    """
    _under_lock(path, lambda real: _change(path, real, change, check), folder=folder, state=state)


def accept(path: Path, *, folder: Path, state: Path, check: Check) -> None:
    """
    Vouch for a file that was edited by hand: its checksums and its count are made anew.

    Raises:
        CassetteError: There is no such file, or it is damaged beyond that.
        SecretsRemain: As `check` raised it; the file is as it was.

    """

    def renewed(real: Path) -> None:
        current = read_cassette(path, sealed=False)
        if not current.exists:
            raise CassetteError(f"{path}: there is no such cassette")
        _write(path, real, current, _sealed(path, current.raw), check)

    _under_lock(path, renewed, folder=folder, state=state)


def save_beside(path: Path, change: Callable[[str | None], str], *, folder: Path, state: Path, check: Check) -> None:
    """
    Change a text file beside a cassette under its lock: it is read as it is now, and replaced whole.

    Args:
        path: In the folder of cassettes.
        change: Is given the text that is there, None where there is no such file, and returns what is to be there.
        folder: The folder of cassettes.
        state: The folder `.modelroute`.
        check: What must hold of the text before any of it is written.

    Raises:
        CassetteError: The file cannot be read, locked or written, or leads out of the folder; it is as it was.
        SecretsRemain: As `check` raised it; the file is as it was.

    """

    def changed(real: Path) -> None:
        try:
            current = real.read_bytes()
        except FileNotFoundError:
            current = None
        try:
            text = change(None if current is None else current.decode())
        except UnicodeDecodeError as error:
            raise CassetteError(f"{path}: not UTF-8 at byte {error.start}; it was not saved") from None
        if text.encode() == current:
            return
        check(text)
        real.parent.mkdir(parents=True, exist_ok=True)
        remove_left_over(real)
        replace_whole(real, text.encode(), mode=None if current is None else S_IMODE(real.stat().st_mode))

    _under_lock(path, changed, folder=folder, state=state)


def _under_lock(path: Path, work: Callable[[Path], None], *, folder: Path, state: Path) -> None:
    try:
        real = real_path(path, folder)
        with locked(state, str(real)):
            work(real)
    except OSError as error:
        raise CassetteError(
            f"{path}: it cannot be saved: {error.strerror}; the file is as it was, "
            f"and calls that were recorded for it are kept in {state / JOURNAL}"
        ) from error


def _change(path: Path, real: Path, change: Callable[[CassetteFile], list[dict[str, Any]]], check: Check) -> None:
    current = read_cassette(path)
    _write(path, real, current, _sealed(path, change(current)), check)


def _write(path: Path, real: Path, current: CassetteFile, raw: list[dict[str, Any]], check: Check) -> None:
    if raw == current.raw:
        return
    text = serialise(path, raw, current.top)
    check(text)
    if current.exists and not os.access(real, os.W_OK):
        raise CassetteError(f"{path}: it is read-only, and was not saved; make it writable to record into it")
    real.parent.mkdir(parents=True, exist_ok=True)
    remove_left_over(real)
    replace_whole(real, text.encode(), mode=S_IMODE(real.stat().st_mode) if current.exists else None)


def serialise(path: Path, raw: Sequence[Mapping[str, Any]], top: Mapping[str, Any]) -> str:
    """
    The text of a cassette, as vcrpy writes it.

    Raises:
        CassetteError: It holds what the format cannot, such as bytes in JSON.

    """
    from vcr.serializers import jsonserializer, yamlserializer  # pyright: ignore[reportMissingTypeStubs] - it has none
    from yaml import YAMLError

    is_json = path.suffix == ".json"
    write = cast("Callable[[Any], str]", (jsonserializer if is_json else yamlserializer).serialize)
    try:
        return write({**top, "version": VERSION, "interactions": list(raw)})
    except (YAMLError, TypeError, ValueError) as error:
        binary = "; a body that is no text needs a cassette in YAML" if is_json else ""
        raise CassetteError(f"{path}: it was not saved, since it cannot be written{binary}: {error}") from None


def _sealed(path: Path, raw: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the checksum of each interaction of ours, and their count on the last of them."""
    sealed = list(raw)
    ours: list[tuple[int, Interaction, Facts]] = []
    for index, each in enumerate(raw):
        interaction = _readable(path, index, each)
        if interaction.facts is not None:
            ours.append((index, interaction, interaction.facts))
    for place, (index, interaction, facts) in enumerate(ours, start=1):
        count = place if place == len(ours) else None
        known = replace(facts, checksum=_checksum(path, index, interaction), count=count)
        sealed[index] = {**raw[index], "response": {**raw[index]["response"], KEY: known.to_raw()}}
    return sealed


def _readable(path: Path, index: int, raw: dict[str, Any]) -> Interaction:
    try:
        return interaction_of(raw)
    except CassetteError as error:
        raise broken(path, f"it was not saved: {error}", number=index + 1) from None


def _checksum(path: Path, index: int, interaction: Interaction) -> str:
    try:
        return checksum(interaction)
    except UnicodeEncodeError as error:
        raise broken(path, f"it was not saved: {error}", number=index + 1) from None
