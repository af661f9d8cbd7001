"""From paths on the command line to cassettes, and to the settings, redaction and prices that are theirs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_modelroute.cassettes.redaction import Redactor
    from pytest_modelroute.config import RecordingSettings, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What belongs to the cassettes of one settings file."""

    home: Path
    "The folder of the settings file; the current one where there is none."
    settings: Settings
    "Those of the file; the defaults where there is none."
    has_settings: bool
    redactor: Redactor

    @property
    def folder(self) -> Path:
        """The folder of cassettes."""
        return self.home / self.settings.cassettes

    @property
    def state(self) -> Path:
        """The folder of what may be lost."""
        from pytest_modelroute.cassettes.recording import STATE

        return self.home / STATE

    @property
    def recording(self) -> RecordingSettings:
        """How calls are recorded."""
        return self.settings.recording

    def name(self, path: Path) -> str:
        """The name of a cassette in its folder; the path where it is outside of it."""
        real, folder = path.resolve(), self.folder.resolve()
        return real.relative_to(folder).as_posix() if real.is_relative_to(folder) else str(path)


class Projects:
    """The projects of the paths that are asked for."""

    def __init__(self, config: str | None) -> None:
        """`config` is the settings file for all of them; None for the nearest one of each."""
        from pytest_modelroute.discovery import SettingsFiles

        self._files = SettingsFiles(None if config is None else Path(config))
        self._known: dict[Path, Project] = {}

    def at(self, folder: Path) -> Project:
        """
        The project of a folder.

        Raises:
            SettingsError: Its settings cannot be used.

        """
        from pytest_modelroute.config import Settings

        folder = folder.absolute()
        settings, home = self._files.at(folder), self._files.folder(folder)
        home = Path.cwd() if home is None else home.absolute()
        if home not in self._known:
            self._known[home] = Project(
                home=home,
                settings=Settings() if settings is None else settings,
                has_settings=settings is not None,
                redactor=_redactor(settings or Settings(), home),
            )
        return self._known[home]

    def here(self) -> Project:
        """The project of the current folder."""
        return self.at(Path.cwd())

    def cassettes(self, given: Sequence[str]) -> list[tuple[Project, Path]]:
        """
        The cassettes that are asked for, with their projects; all of the current folder's project for nothing given.

        Raises:
            CassetteError: A path does not exist, or there is no cassette at all.
            SettingsError: The settings of one cannot be used.

        """
        from pytest_modelroute.cassettes.overview import cassettes_below
        from pytest_modelroute.errors import CassetteError

        if not given:
            project = self.here()
            folder = shortened(project.folder)
            found = cassettes_below(folder) if folder.is_dir() else []
            if not found:
                raise CassetteError(
                    f"{folder}: there are no cassettes here; record a test: pytest TEST --modelroute-record=new"
                )
            return [(project, path) for path in found]
        chosen: dict[Path, Project] = {}
        for text in given:
            path = existing(text)
            found = cassettes_below(path) if path.is_dir() else [path]
            if not found:
                raise CassetteError(f"{path}: there are no cassettes in this folder")
            chosen.update({each: self.at(each.parent) for each in found})
        return [(project, path) for path, project in chosen.items()]


def existing(text: str) -> Path:
    """
    A path that was typed.

    Raises:
        CassetteError: There is nothing.

    """
    from pytest_modelroute.errors import CassetteError

    path = Path(text)
    if not path.exists() and not path.is_symlink():
        raise CassetteError(f"{text}: there is no such file or folder; see what there is: modelroute cassettes list")
    return path


def shortened(path: Path) -> Path:
    """A path as a person would type it from here."""
    from pytest_modelroute.wire.places import short_path

    return Path(short_path(str(path)))


def import_from(home: Path) -> None:
    """Let functions that settings or options name be imported from the folder of the settings, and from here."""
    for folder in (str(home), str(Path.cwd())):
        if folder not in sys.path:
            sys.path.insert(0, folder)


def _redactor(settings: Settings, home: Path) -> Redactor:
    from pytest_modelroute.cassettes.recording import load_hook
    from pytest_modelroute.cassettes.redaction import Redactor

    recording = settings.recording
    if recording.redact is not None:
        import_from(home)
    return Redactor(
        environment=dict(os.environ),
        patterns=recording.patterns,
        keep_headers=recording.keep_headers,
        hook=None if recording.redact is None else load_hook(recording.redact),
    )
