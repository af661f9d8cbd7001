"""Reads the tables of a settings file, with the standard library alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from pytest_modelroute.errors import SettingsError


def read_table(path: Path, *, required: bool = True) -> Mapping[str, Any] | None:
    """
    The tables of a settings file, without their prefix.

    Args:
        path: A modelroute.toml, or a pyproject.toml.
        required: Whether a pyproject.toml without [tool.modelroute] is an error, and not None.

    Raises:
        SettingsError: No such file, or it is not TOML.

    """
    import tomllib

    try:
        table: dict[str, Any] = tomllib.loads(read_text(path))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise SettingsError(f"{path}: there is no such settings file") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None
    if path.name != "pyproject.toml":
        return table
    tool = table.get("tool")
    ours = cast("dict[str, Any]", tool).get("modelroute") if isinstance(tool, dict) else None
    if ours is None:
        if required:
            raise SettingsError(f"{path}: it has no table [tool.modelroute]")
        return None
    if not isinstance(ours, dict):
        raise SettingsError(f"{path}: tool.modelroute is a table, not {ours!r}")
    return cast("dict[str, Any]", ours)


def read_text(path: Path) -> str:
    """The text of a settings file; SettingsError where it is not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 at byte {error.start}") from None


def unless_known(name: str, known: Iterable[str], what: str) -> Iterator[str]:
    """A problem, with the nearest name that is known, where a name is not."""
    names = list(known)
    if name not in names:
        from difflib import get_close_matches

        nearest = get_close_matches(name, names, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are: {', '.join(names) or 'none'}"
        yield f"{what} {name!r}, which does not exist; {hint}"
