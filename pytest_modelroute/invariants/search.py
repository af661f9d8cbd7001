"""Looks for a violation of a law, and makes it small."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal
from warnings import catch_warnings, simplefilter

from pytest_modelroute.errors import ModelRouteError
from pytest_modelroute.invariants.atlas import Atlas
from pytest_modelroute.invariants.law import Law, Violation
from pytest_modelroute.invariants.player import NoSuchForm
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.scenes import Scene
from pytest_modelroute.invariants.seen import Played
from pytest_modelroute.invariants.stage import Stage

if TYPE_CHECKING:
    from hypothesis import settings

PROFILES: Final = {"quick": 8, "ci": 40, "thorough": 400}
"How many examples a law is tried on."
_real_clock = time.perf_counter


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of trying a law."""

    law: Law
    status: Literal["held", "violated", "not exercised"]
    examples: int
    "How many were judged."
    seconds: float
    violation: Violation | None = None
    scenes: Sequence[Scene] = ()
    trial: Sequence[Played] = ()
    sometimes: bool = False
    "Whether the same example gave another result when it was tried again."
    seed: int = 0
    notes: tuple[str, ...] = ()
    "What is not the law's business and yet worth a warning."


class _Broken(Exception):
    """An example breaks the law."""


@dataclass(slots=True)
class _Found:
    scenes: Sequence[Scene] = ()
    trial: Sequence[Played] = ()
    violation: Violation | None = None
    judged: int = 0
    error: list[BaseException] = field(default_factory=list[BaseException])


def play_all(stage: Stage, scenes: Sequence[Scene]) -> list[Played]:
    """Play the scenes of a trial, each by a router of its own."""
    return [stage.play(scene, seed=number) for number, scene in enumerate(scenes)]


def _trial(stage: Stage, scenes: Sequence[Scene], found: _Found, *, endless: bool) -> list[Played] | None:
    """What came of the scenes; None where they say nothing of this law, or where an error ends the search."""
    if found.error:
        return None
    try:
        trial = play_all(stage, scenes)
    except NoSuchForm:
        return None
    except (ModelRouteError, KeyboardInterrupt) as error:
        found.error.append(error)
        raise
    return None if not endless and any(played.endless for played in trial) else trial


def _settings(examples: int, *, smallest: bool) -> settings:
    """How Hypothesis searches: the same way each time, and as long as it takes."""
    from hypothesis import HealthCheck, Phase, Verbosity, settings

    checks: Any = list(HealthCheck)
    return settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=False,
        report_multiple_bugs=False,
        suppress_health_check=checks,
        phases=(Phase.generate, Phase.shrink) if smallest else (Phase.generate,),
        verbosity=Verbosity.quiet,
    )


def search(
    law: Law,
    stage: Stage,
    promises: Promises,
    atlas: Atlas,
    *,
    profile: str = "ci",
    seed: int = 0,
    smallest: bool = True,
) -> Finding:
    """
    Try a law on as many examples as the profile says; the same seed tries the same ones.

    An example that breaks it is made `smallest`, which takes several times as long as finding one.

    Raises:
        SubjectError: The router cannot be built or asked.
        Hangs: It blocks the process.

    """
    from hypothesis import given, reject
    from hypothesis import seed as seeded
    from hypothesis.errors import HypothesisException, HypothesisWarning, Unsatisfiable

    found, start = _Found(), _real_clock()

    @seeded(zlib.crc32(f"{seed} {law.id}".encode()))
    @_settings(max(2, round(PROFILES[profile] * law.examples)), smallest=smallest)
    @given(law.scenes(promises, atlas))
    def check(scenes: Sequence[Scene]) -> None:
        trial = _trial(stage, scenes, found, endless=law.id == "bounded_work")
        if trial is None:
            reject()
        found.judged += 1
        violation = law.judge(promises, trial)
        if violation is not None:
            found.scenes, found.trial, found.violation = scenes, trial, violation
            raise _Broken

    sometimes = False
    try:
        with catch_warnings():
            # Of a long example, say; where warnings are errors it would pass for one that breaks the law sometimes.
            simplefilter("ignore", HypothesisWarning)
            check()
    except (_Broken, Unsatisfiable):
        pass
    except HypothesisException:
        if found.violation is None:
            raise
        sometimes = True
    except BaseException:
        if found.error:
            raise found.error[0] from found.error[0].__cause__
        raise
    status: Any = "violated" if found.violation else "held" if found.judged else "not exercised"
    return Finding(
        law=law,
        status=status,
        examples=found.judged,
        seconds=_real_clock() - start,
        violation=found.violation,
        scenes=found.scenes,
        trial=found.trial,
        sometimes=sometimes,
        seed=seed,
    )
