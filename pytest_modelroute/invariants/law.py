"""A law, what breaks it, and the register of all laws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.seen import Played, Trial

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas
    from pytest_modelroute.invariants.scenes import Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A promise that was broken in a trial."""

    expected: str
    "What should have been seen, in one sentence."
    seen: str
    "What was seen, in one sentence."
    counts: Mapping[int, str] = field(default_factory=dict[int, str])
    "Call number -> why it counts, for the timeline."
    advice: str = ""
    "In place of the law's own."
    play: Played | None = None
    "The scene that shows it; all of the trial's where left out."
    beside: Played | None = None
    "The scene that it is to be compared with."

    @property
    def plays(self) -> tuple[Played, ...]:
        """The scenes that show it, the one to compare with first; none for all of the trial's."""
        return tuple(played for played in (self.beside, self.play) if played is not None)


Judge = Callable[[Promises, Trial], Violation | None]
Scenes = Callable[["Promises", "Atlas"], "SearchStrategy[Sequence[Scene]]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """
    One law: what it says, whom it binds, what to try, and how to judge what came of it.

    `judge` is a pure function of the promises and of what was seen, and needs neither pytest nor a router.
    """

    id: str
    family: str
    says: str
    "The law in one sentence."
    why: str
    "What goes wrong in life where it is broken."
    needs: tuple[str, ...]
    "The promises that it needs; none for a law of every router."
    advice: str
    "One line: where to look."
    scenes: Scenes
    judge: Judge
    when: Callable[[Promises], bool] = lambda _promises: True
    "A further condition of the promises."
    idle: str = "nothing that could show it applies to this router"
    "Why it may be that nothing is tried."
    examples: float = 1.0
    "How many examples it takes, by the profile's own number: less than 1 for a law whose examples are dear."
    each: bool = False
    "Whether the scenes that a violation names are enough to show it, so that the others are left out of its test."

    def binds(self, promises: Promises) -> bool:
        """Whether the promises switch it on."""
        return all(promised(promises, name) for name in self.needs) and self.when(promises)


def promised(promises: Promises, name: str) -> bool:
    """Whether a promise was made."""
    if name == "spend_of":
        return promises.has_spend_of
    if " or " in name:
        return any(promised(promises, part) for part in name.split(" or "))
    if name == "cost_of":
        return promises.has_cost_of
    if name.startswith("option "):
        return name.removeprefix("option ") in promises.options
    value: Any = getattr(promises, name)
    if name == "load_balanced":
        return value is not None
    return value is not None and value is not False and value not in ((), {})


_laws: Final[dict[str, Law]] = {}


def register(law: Law) -> Law:
    """Add a law to the register."""
    assert law.id not in _laws, law.id  # noqa: S101 - two modules of ours with one id
    _laws[law.id] = law
    return law


def all_laws() -> Mapping[str, Law]:
    """Every law by its id, in the order of the families."""
    from pytest_modelroute.invariants import laws

    laws.load()
    return _laws


def bound(promises: Promises) -> Iterator[Law]:
    """The laws that these promises switch on."""
    return (law for law in all_laws().values() if law.binds(promises))
