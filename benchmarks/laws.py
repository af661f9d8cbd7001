"""
What the laws cost: `python benchmarks/laws.py`.

An example of a law against the bare calls that it makes: the same requests to the same router through the same
interception, without scenes, notes and judgement, building the router apart. Then all laws of a router that promises
all it can, under the profiles quick and ci. CPU time, in rounds that alternate; ratios are of one run.
"""

import asyncio
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from sys import path
from typing import Any

path.insert(0, str(Path(__file__).parent.parent))

from pytest_modelroute.invariants.atlas import survey
from pytest_modelroute.invariants.binding import promises_of
from pytest_modelroute.invariants.checking import check_law
from pytest_modelroute.invariants.laboratory import Laboratory
from pytest_modelroute.invariants.law import Law, bound
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.scenes import Act, Ask, Scene, Script
from pytest_modelroute.invariants.search import search
from pytest_modelroute.invariants.stage import Stage
from pytest_modelroute.wire.labels import Label, labelled
from tests.invariants.correct import Correct

ASKS, ROUNDS = 10, 9
REQUEST = RoutingRequest(prompt="Where is my order?")
SCENE = Scene(acts=tuple(Act(asks=(Ask(request=REQUEST, label="LOW"),)) for _ in range(ASKS)))
LAW = "determinism"


class Bare:
    """The scripted answers of the scene, for the same requests without a stage."""

    def __init__(self, stage: Stage) -> None:
        """Take the router of a stage's own."""
        self.stage = stage

    def timed(self, laboratory: Laboratory, subject: Any) -> float:
        """CPU seconds of the bare requests of a scene, each call answered and logged."""
        from pytest_modelroute.invariants.player import ScenePlayer

        player = ScenePlayer(promises_of(Correct), learned=self.stage.learned)
        laboratory.wire.scripts = player
        laboratory.fresh_log()

        async def ask() -> float:
            router = subject.make_router(laboratory.providers)
            start = time.process_time()
            for number in range(ASKS):
                act = Act(asks=(Ask(request=REQUEST, label="LOW"),), script=Script())
                player.begin(act, [str(number)])
                with labelled(Label(case=str(number))):
                    await subject.ask(router, REQUEST)
            return time.process_time() - start

        return asyncio.run(ask())


def played(stage: Stage, building: Callable[[], float]) -> float:
    """CPU seconds of the scene on the stage, without the building of its router."""
    apart = building()
    start = time.process_time()
    stage.play(SCENE)
    return time.process_time() - start - apart


def ratios() -> None:
    """An example against its bare calls."""
    subject, promises = Correct(), promises_of(Correct)
    laboratory = Laboratory()
    with laboratory.open():
        stage = Stage(subject, promises, laboratory, name="Correct")
        survey(stage, promises, Correct)
        bare = Bare(stage)

        def building() -> float:
            start = time.process_time()
            subject.make_router(laboratory.providers)
            return time.process_time() - start

        bare.timed(laboratory, subject)
        rows = [(bare.timed(laboratory, subject), played(stage, building)) for _ in range(ROUNDS)]
    calls = statistics.median(row[0] for row in rows)
    scene = statistics.median(row[1] for row in rows)
    print(f"one router, {ASKS} requests of 2 calls each, median of {ROUNDS} alternating rounds")
    print(f"  bare calls    {calls * 1000:7.1f} ms")
    print(f"  as a scene    {scene * 1000:7.1f} ms  {statistics.median(b / a for a, b in rows):5.2f} x bare")


def examples() -> None:
    """The examples of a law against the same scenes as bare calls."""
    times, promises = Timed(), promises_of(Timed)
    laboratory = Laboratory()
    with laboratory.open():
        stage = Stage(times, promises, laboratory, name="Timed")
        atlas = survey(stage, promises, Timed)
        stage.learned = atlas.learned
        law = next(law for law in bound(promises) if law.id == LAW)
        search(law, stage, promises, atlas)  # what is made once: the tables of Hypothesis, the imports
        times.asking = times.building = times.asks = 0
        start = time.process_time()
        finding = search(law, stage, promises, atlas)
        whole = time.process_time() - start
    print(f"{LAW}, {finding.examples} examples of {times.asks / finding.examples:.1f} requests")
    print(f"  asking (the router and its calls)  {times.asking * 1000:7.1f} ms")
    print(f"  building routers                   {times.building * 1000:7.1f} ms")
    rest = whole - times.building
    print(f"  all but building                   {rest * 1000:7.1f} ms  {rest / times.asking:5.2f} x asking")


class Timed(Correct):
    """The same class, which measures how long its router takes by itself."""

    def __init__(self) -> None:
        """Nothing is measured yet."""
        self.asking = self.building = 0.0
        self.asks = 0

    def make_router(self, providers: Any) -> Any:
        """Build, timed."""
        start = time.process_time()
        try:
            return super().make_router(providers)
        finally:
            self.building += time.process_time() - start

    async def ask(self, router: Any, request: Any) -> Any:
        """Ask, timed; what is asked meanwhile is counted twice."""
        start = time.process_time()
        self.asks += 1
        try:
            return await super().ask(router, request)
        finally:
            self.asking += time.process_time() - start

    async def stream(self, router: Any, request: Any) -> Any:
        """Ask for a stream, timed in the same way."""
        start = time.process_time()
        self.asks += 1
        try:
            async for piece in super().stream(router, request):
                yield piece
        finally:
            self.asking += time.process_time() - start


def all_laws(profile: str) -> None:
    """Every law that the class promises."""
    laws: list[Law] = list(bound(promises_of(Correct)))
    start, real = time.process_time(), time.perf_counter()
    rows = [(check_law(Correct, law.id, profile=profile), law) for law in laws]
    print(
        f"all {len(laws)} laws, profile {profile}: {time.process_time() - start:.1f} s CPU, "
        f"{time.perf_counter() - real:.1f} s of real time"
    )
    rows.sort(key=lambda row: -row[0].seconds)
    for finding, law in rows[:5]:
        print(f"  {law.id:28} {finding.seconds:6.2f} s  {finding.examples:4} examples  {finding.status}")


def main() -> None:
    """Measure and print."""
    ratios()
    examples()
    for profile in ("quick", "ci"):
        all_laws(profile)


if __name__ == "__main__":
    main()
