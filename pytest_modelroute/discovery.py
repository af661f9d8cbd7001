"""
Finds the settings of a folder.

Imports nothing of ours until a file is found, since every pytest run passes here. PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_modelroute.config import Settings


class SettingsFiles:
    """The settings of each folder: those given by option, else the nearest file at or above it that has them."""

    def __init__(self, explicit: Path | None = None) -> None:
        """`explicit` is the file of --modelroute-config, which then serves every folder."""
        self._explicit = explicit
        self._by_folder: dict[Path, tuple[Path, Settings] | None] = {}

    def at(self, folder: Path) -> Settings | None:
        """
        The settings of a folder, or None where it has none.

        Raises:
            SettingsError: The file cannot be used.

        """
        found = self._find(folder)
        return None if found is None else found[1]

    def folder(self, folder: Path) -> Path | None:
        """The folder of the file that `at` reads, or None."""
        found = self._find(folder)
        return None if found is None else found[0].parent

    def _find(self, folder: Path) -> tuple[Path, Settings] | None:
        if folder in self._by_folder:
            return self._by_folder[folder]
        if self._explicit is not None:
            found = self._load(self._explicit, required=True)
        else:
            found = self._load(folder / "modelroute.toml") or self._load(folder / "pyproject.toml")
            if found is None and folder != folder.parent:
                found = self._find(folder.parent)
        self._by_folder[folder] = found
        return found

    def _load(self, path: Path, *, required: bool = False) -> tuple[Path, Settings] | None:
        if not required and not _may_hold_settings(path):
            return None
        from pytest_modelroute.tables import read_table

        table = read_table(path, required=required)
        if table is None:
            return None
        from pytest_modelroute.config import read_settings

        return path, read_settings(table, where=path)


def _may_hold_settings(path: Path) -> bool:
    """Whether it is worth parsing: to search costs less, and most pyproject.toml do not name us."""
    if not path.is_file():
        return False
    return path.name != "pyproject.toml" or b"modelroute" in path.read_bytes()
