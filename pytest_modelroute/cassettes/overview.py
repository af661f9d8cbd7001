"""What each cassette holds, at a glance; one that cannot be read stops nobody from seeing the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pytest_modelroute.cassettes.calls import read_call
from pytest_modelroute.cassettes.facts import Facts
from pytest_modelroute.cassettes.files import read_cassette
from pytest_modelroute.cassettes.names import SUFFIXES
from pytest_modelroute.cassettes.staleness import Stale, find_stale
from pytest_modelroute.errors import CassetteError
from pytest_modelroute.providers.prices import PriceBook


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """By what a recording is judged to be stale."""

    now: datetime
    "With a time zone."
    max_age_days: int
    prices: PriceBook
    "Today's."
    command: str
    "What records again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """One cassette at a glance."""

    path: Path
    size: int = 0
    "Bytes of the file."
    problem: str | None = None
    "Why it cannot be read; None where it can."
    interactions: int = 0
    foreign: int = 0
    "How many of them another tool recorded, so that neither age nor latency is known."
    models: Counter[str] = field(default_factory=Counter[str])
    "Model asked for -> calls."
    facts: tuple[Facts, ...] = ()
    stale: tuple[Stale, ...] = ()

    @property
    def oldest(self) -> str | None:
        """When the oldest recording was made, in UTC; None where no time is known."""
        return min((each.recorded_at for each in self.facts), default=None)


def overview(path: Path, *, age: Age, hosts: Sequence[tuple[str, str]] = ()) -> Overview:
    """Look into a cassette; what is wrong with it stands in `problem`."""
    size = 0
    try:
        size = path.stat().st_size
        read = read_cassette(path)
        facts = tuple(each.facts for each in read.interactions if each.facts is not None)
        stale = find_stale(facts, now=age.now, max_age_days=age.max_age_days, prices=age.prices, command=age.command)
    except OSError as error:
        return Overview(path=path, problem=f"{path}: it cannot be read: {error.strerror}")
    except CassetteError as error:
        text = str(error)
        return Overview(path=path, size=size, problem=text if text.startswith(str(path)) else f"{path}: {text}")
    calls = [call for each in read.interactions if (call := read_call(each, hosts)) is not None]
    return Overview(
        path=path,
        size=size,
        interactions=len(read.interactions),
        foreign=len(read.interactions) - len(facts),
        models=Counter(call.model for call in calls),
        facts=facts,
        stale=tuple(stale),
    )


def cassettes_below(folder: Path) -> list[Path]:
    """The cassettes of a folder and its folders, in the order of their names; what begins with a dot is none."""
    return [path for path in files_below(folder) if path.suffix in SUFFIXES and not path.name.startswith(".")]


def files_below(folder: Path) -> list[Path]:
    """The files of a folder and its folders, in the order of their names, but for those of git itself."""
    return sorted(
        path for path in folder.rglob("*") if ".git" not in path.relative_to(folder).parts and not path.is_dir()
    )
