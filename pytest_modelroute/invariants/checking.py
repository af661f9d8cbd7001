"""Checking a class: its laws one by one, each in a laboratory of its own."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final
from weakref import WeakKeyDictionary

from pytest_modelroute.errors import ModelRouteError, SubjectError
from pytest_modelroute.invariants.atlas import Atlas, survey
from pytest_modelroute.invariants.binding import law_named, promises_of
from pytest_modelroute.invariants.laboratory import Laboratory
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.scenes import Scene
from pytest_modelroute.invariants.search import Finding, play_all, search
from pytest_modelroute.invariants.stage import Stage
from pytest_modelroute.invariants.telling import tell
from pytest_modelroute.invariants.watchdog import Hangs
from pytest_modelroute.providers.prices import PriceBook

_atlases: Final[WeakKeyDictionary[type[Any], Atlas | ModelRouteError]] = WeakKeyDictionary()
"What was seen of each class in this process, or why it cannot be used: plain requests are asked once, not once a law."


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the project brings to the checks of its routers."""

    prices: PriceBook = field(default_factory=PriceBook)
    provider_hosts: Sequence[tuple[str, str]] = ()
    allow_hosts: Sequence[str] = ()
    folders: Sequence[Any] = ()
    "Where files of golden cases are looked for."
    routes: Any = None
    "Aliases and tiers of the settings, for golden cases."


def check_law(
    kind: type[Any],
    law_id: str,
    *,
    profile: str = "ci",
    seed: int = 0,
    surroundings: Surroundings | None = None,
    smallest: bool = True,
) -> Finding:
    """
    Try one law of a class.

    Args:
        kind: A class of `RoutingInvariants`.
        law_id: The law.
        profile: quick, ci or thorough.
        seed: Another one tries other examples.
        surroundings: Prices, hosts and folders of the project.
        smallest: Whether an example that breaks it is made small, rather than taken as it comes.

    Raises:
        PromiseError: The class, or the law, is none.
        SubjectError: The router cannot be built or asked.

    """
    law, promises = law_named(kind, law_id), promises_of(kind)
    with staged(kind, promises, surroundings) as stage:
        fresh = kind not in _atlases
        atlas = atlas_of(kind, promises, stage)
        try:
            finding = search(law, stage, promises, atlas, profile=profile, seed=seed, smallest=smallest)
        except Hangs as error:
            raise SubjectError(str(error)) from None
        return replace(finding, notes=tuple(_notes(kind, atlas, stage.noise)) if fresh else ())


def _notes(kind: type[Any], atlas: Atlas, noise: str) -> Iterator[str]:
    """What is said once for each class: it breaks no promise, and would do harm in life all the same."""
    if noise:
        yield f"{kind.__name__}: {noise}; what is printed by examples is not shown"
    if atlas.leftovers:
        shown = ", ".join(atlas.leftovers[:3])
        yield (
            f"{kind.__name__}: a plain request leaves {len(atlas.leftovers)} running after its answer ({shown}): in "
            "life their errors go unseen, and they pile up. Await or cancel them before the answer"
        )


def check_scenes(kind: type[Any], law_id: str, scenes: Sequence[Scene]) -> str | None:
    """Play scenes and judge them by one law; the report of a violation, or None."""
    law, promises = law_named(kind, law_id), promises_of(kind)
    with staged(kind, promises, None) as stage:
        atlas = atlas_of(kind, promises, stage)
        stage.learned, stage.is_async = atlas.learned, atlas.is_async
        try:
            trial = play_all(stage, scenes)
        except Hangs as error:
            raise SubjectError(str(error)) from None
    violation = law.judge(promises, trial)
    if violation is None:
        return None
    finding = Finding(
        law=law, status="violated", examples=1, seconds=0.0, violation=violation, scenes=scenes, trial=trial
    )
    return tell(finding, name=kind.__name__)


@contextmanager
def staged(kind: type[Any], promises: Promises, surroundings: Surroundings | None) -> Generator[Stage]:
    """A stage on which routers of a class can be played, in a laboratory that is open for this block."""
    around = surroundings or Surroundings()
    prices = replace(around.prices, own={**around.prices.own, **promises.prices})
    laboratory = Laboratory(prices=prices, provider_hosts=around.provider_hosts, allow_hosts=around.allow_hosts)
    with laboratory.open():
        yield Stage(kind(), promises, laboratory, name=kind.__name__)


def atlas_of(kind: type[Any], promises: Promises, stage: Stage) -> Atlas:
    """What is known of a class; where it cannot be used, the first law says why, and the others point there."""
    known = _atlases.get(kind)
    if isinstance(known, ModelRouteError):
        first = str(known).partition("\n")[0]
        raise SubjectError(f"not checked: {first} (the first failure of {kind.__name__} says more)")
    if known is None:
        try:
            known = survey(stage, promises, kind)
        except Hangs as error:
            _atlases[kind] = SubjectError(str(error))
            raise SubjectError(str(error)) from None
        except ModelRouteError as error:
            _atlases[kind] = error
            raise
        _atlases[kind] = known
    stage.learned, stage.is_async = known.learned, known.is_async
    return known
