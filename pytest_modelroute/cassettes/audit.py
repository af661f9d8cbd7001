"""Looking through what is kept, or committed: for secrets, and for cassettes that are not as they were recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from pytest_modelroute.cassettes.files import read_cassette
from pytest_modelroute.cassettes.names import SUFFIXES
from pytest_modelroute.cassettes.overview import files_below
from pytest_modelroute.cassettes.redaction import Redactor
from pytest_modelroute.errors import CassetteError

FlawKind: TypeAlias = Literal["secret", "damaged", "unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """One thing that is wrong with a file."""

    path: Path
    kind: FlawKind
    line: int | None
    "None where the message names the place itself, or it is the whole file."
    message: str
    "What it is, never the secret itself."

    def __str__(self) -> str:
        """File, line and what it is."""
        if self.kind == "damaged":
            return self.message
        return f"{self.path}: {self.message}" if self.line is None else f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What an audit has looked at, and found."""

    files: int
    cassettes: int
    flaws: tuple[Flaw, ...]


def audit(paths: Sequence[Path], redactor: Redactor, *, others: Sequence[Path] = ()) -> Audited:
    """
    Look through files, and through all files of folders, whatever they are.

    Args:
        paths: Cassettes and folders of them; in a folder, every YAML or JSON file must be a cassette that is whole.
        redactor: Knows what a secret is; given the environment, also by value.
        others: Files and folders that are looked through for secrets alone, such as the journal.

    """
    cassettes = list(_files(paths))
    rest = [path for path in _files(others) if path not in cassettes]
    flaws = [flaw for path in cassettes for flaw in _in_file(path, redactor, sealed=path.suffix in SUFFIXES)]
    flaws += [flaw for path in rest for flaw in _in_file(path, redactor, sealed=False)]
    return Audited(
        files=len(cassettes) + len(rest),
        cassettes=sum(path.suffix in SUFFIXES for path in cassettes),
        flaws=tuple(flaws),
    )


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    seen = set[Path]()
    for given in paths:
        for path in files_below(given) if given.is_dir() else [given]:
            if path not in seen:
                seen.add(path)
                yield path


def _in_file(path: Path, redactor: Redactor, *, sealed: bool) -> Iterator[Flaw]:
    try:
        data = path.read_bytes()
    except OSError as error:
        problem = f"it cannot be read, and so not be looked through: {error.strerror}"
        yield Flaw(path=path, kind="unreadable", line=None, message=problem)
        return
    for finding in redactor.remains(data):
        yield Flaw(path=path, kind="secret", line=finding.line, message=finding.kind)
    if sealed:
        try:
            read_cassette(path)
        except CassetteError as error:
            # It may quote the file.
            yield Flaw(path=path, kind="damaged", line=None, message=redactor.text(str(error)))
