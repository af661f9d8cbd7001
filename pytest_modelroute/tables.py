"""Reads the tables of a settings file; the standard library only, since every pytest run may pass here."""

from __future__ import annotations

from collections.abc import Mapping
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
    except FileNotFoundError:
        raise SettingsError(f"{path}: there is no such settings file") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None
    if path.name != "pyproject.toml":
        return table
    ours = table.get("tool", {}).get("modelroute")
    if ours is None and required:
        raise SettingsError(f"{path}: it has no table [tool.modelroute]")
    return cast("Mapping[str, Any] | None", ours)


def read_text(path: Path) -> str:
    """The text of a settings file; SettingsError where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 at byte {error.start}") from None
