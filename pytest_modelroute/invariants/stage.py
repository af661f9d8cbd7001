"""Plays scenes: builds a router, asks it what the scene says, and takes down what was seen."""

from __future__ import annotations

import asyncio
import copy
import inspect
import random
import threading
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final, Protocol, cast

from pytest_modelroute.errors import SubjectError
from pytest_modelroute.invariants.amounts import Amounts
from pytest_modelroute.invariants.attributes import changed_since_bound
from pytest_modelroute.invariants.building import BUILDING, Builder, environment
from pytest_modelroute.invariants.laboratory import Laboratory, NeverEnds
from pytest_modelroute.invariants.observing import Notes, Observer
from pytest_modelroute.invariants.player import EndlessCalls, NoSuchForm, ScenePlayer, Signatures
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.reading import aread, read
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.scenes import Act, Scene, turns
from pytest_modelroute.invariants.seen import Played, SeenAct, SeenAsk, SeenCall
from pytest_modelroute.invariants.simulation import Simulation
from pytest_modelroute.invariants.watchdog import watched
from pytest_modelroute.wire.call_log import ProviderCall
from pytest_modelroute.wire.labels import Label, labelled

NOON: Final = datetime(2026, 6, 15, 12, tzinfo=UTC)
"What the wall clock shows at the beginning of a scene that does not say: no day of the machine's decides on a verdict."
_ENDLESS: Final = (NeverEnds, EndlessCalls)


class Subject(Protocol):
    """The router under test, as its class declares it."""

    def make_router(self, providers: Any) -> Any:
        """Build a router."""
        ...

    def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        ...


class Stage:
    """Plays scenes with fresh routers of one subject."""

    def __init__(self, subject: Subject, promises: Promises, laboratory: Laboratory, *, name: str) -> None:
        """
        Play nothing yet.

        Args:
            subject: An instance of the test class.
            promises: What it promises.
            laboratory: Open.
            name: The class's name, for messages.

        """
        self._subject: Any = subject
        self._promises = promises
        self._lab = laboratory
        self._name = name
        self._builder = Builder(subject, laboratory, name=name)
        self._observer = Observer()
        amounts = Amounts(subject, promises, name=name)
        self._spent, self._aspent = amounts.spent, amounts.aspent
        self._cost, self._acost = amounts.cost, amounts.acost
        self.learned: Signatures | None = None
        "How calls of the classifier's model look, once that is known."
        self.is_async = any(
            inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
            for name in ("make_router", "ask", "stream")
            if (function := getattr(subject, name, None)) is not None
        )

    @property
    def last_router(self) -> Any:
        """The newest router."""
        return self._builder.last

    @property
    def noise(self) -> str:
        """What the router printed so far, in a line; empty for nothing."""
        return self._lab.noise.said()

    def play(self, scene: Scene, *, seed: int = 0) -> Played:
        """
        Play a scene.

        Raises:
            SubjectError: The router cannot be built or asked, or goes on for ever whatever ends it.
            Hangs: It blocks the process.

        """
        state = random.getstate()
        random.seed(zlib.crc32(repr(scene).encode()) + seed)
        try:
            with watched(f"{self._name}: the router under test"), environment(scene):
                return self._in_a_loop(scene) if self.is_async else self._play(scene)
        except _ENDLESS as error:
            raise SubjectError(
                f"{self._name}: the router goes on for ever, and swallows what would end it (except BaseException, or "
                f"a bare except?): {error}"
            ) from None
        finally:
            random.setstate(state)

    # ------------------------------------------------------------------ sync

    def _play(self, scene: Scene) -> Played:
        player, calls, before = self._begin(scene)
        try:
            router = self._builder.call()
        except SubjectError as error:
            return self._not_built(scene, player, calls, before, error)
        if inspect.isawaitable(router):
            _drop(router)
            self.is_async = True
            return self._in_a_loop(scene)
        built = self._built(player, calls)
        self._builder.check(router)
        routers = {0: router}
        acts: list[SeenAct] = []
        spent_before = self._spent(router)
        endless: BaseException | None = None
        for number, act in enumerate(turns(scene)):
            if act.pause:
                self._lab.clock.advance(act.pause)
            began = self._now()
            notes = self._prepare(player, act, number)
            try:
                self._builder.add(routers, (note.ask.router for note in notes))
                self._ask_all(routers, notes)
            except _ENDLESS as error:
                endless = error
            if notes and inspect.isawaitable(notes[0].response):
                _drop(notes[0].response)
                self.is_async = True
                return self._in_a_loop(scene)
            endless = self._fatal(player) or endless
            acts.append(self._seen_act(player, notes, began, None if endless else self._spent(router)))
            if endless is not None:
                break
        return self._end(scene, self._by_now(player, acts), built, spent_before, before, (), endless)

    def _ask_all(self, routers: Mapping[int, Any], notes: Sequence[Notes]) -> None:
        if not notes:
            return
        if len(notes) == 1:
            self._lab.clock.advance(notes[0].ask.at)
            self._lab.wire.running = Label(case=notes[0].case)
            self._do(routers[notes[0].ask.router], notes[0])
            return
        works = [(note.ask.at, partial(self._do, routers[note.ask.router], note)) for note in notes]
        Simulation(self._lab.clock).run(works)

    def _in_a_loop(self, scene: Scene) -> Played:
        with asyncio.Runner() as runner:
            return runner.run(self._aplay(scene))

    def _do(self, router: Any, notes: Notes) -> None:
        with self._under_way(notes):
            function = self._function(notes.request)
            result = function(router, notes.request)
            kind = cast("Any", type(result))
            if not inspect.isawaitable(result) and hasattr(kind, "__next__"):
                read(result, notes)
            notes.response = result
            if not inspect.isawaitable(result) and not notes.chunks and not notes.request.stream:
                notes.cost = self._cost(router, result)

    # ----------------------------------------------------------------- async

    async def _aplay(self, scene: Scene) -> Played:
        player, calls, before = self._begin(scene)
        try:
            router = await self._builder.acall()
        except SubjectError as error:
            return self._not_built(scene, player, calls, before, error)
        built = self._built(player, calls)
        self._builder.check(router)
        routers = {0: router}
        acts: list[SeenAct] = []
        spent_before = await self._aspent(router)
        endless: BaseException | None = None
        for number, act in enumerate(turns(scene)):
            if act.pause:
                await asyncio.sleep(act.pause)
            began = self._now()
            notes = self._prepare(player, act, number)
            if len(notes) == 1:
                self._lab.wire.running = Label(case=notes[0].case)
            await self._builder.aadd(routers, (note.ask.router for note in notes))
            tasks = [asyncio.create_task(self._ado(routers[note.ask.router], note)) for note in notes]
            try:
                await asyncio.gather(*tasks)
            except _ENDLESS as error:
                endless = error
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            endless = self._fatal(player) or endless
            acts.append(self._seen_act(player, notes, began, None if endless else await self._aspent(router)))
            if endless is not None:
                break
        acts = self._by_now(player, acts)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        names = tuple(_describe(task) for task in left)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return self._end(scene, acts, built, spent_before, before, names, endless)

    async def _ado(self, router: Any, notes: Notes) -> None:
        if notes.ask.at:
            await asyncio.sleep(notes.ask.at)
        task = asyncio.create_task(self._aask(router, notes))
        if notes.ask.cancel_after is not None:
            done, _ = await asyncio.wait({task}, timeout=notes.ask.cancel_after)
            if not done:
                notes.outcome = "cancelled"
                task.cancel()
        await task
        if notes.error is None and notes.outcome == "answered" and not notes.chunks and not notes.request.stream:
            notes.cost = await self._acost(router, notes.response)

    async def _aask(self, router: Any, notes: Notes) -> None:
        with self._under_way(notes):
            result = self._function(notes.request)(router, notes.request)
            if inspect.isawaitable(result):
                result = await result
            kind = cast("Any", type(result))
            if hasattr(kind, "__anext__") or hasattr(kind, "__aiter__"):
                await aread(result, notes)
            elif hasattr(kind, "__next__"):
                read(result, notes)
            notes.response = result

    # ---------------------------------------------------------------- shared

    def _begin(self, scene: Scene) -> tuple[ScenePlayer, Any, Any]:
        lab = self._lab
        lab.wall.scan()
        player = ScenePlayer(self._promises, learned=self.learned)
        lab.wire.scripts = player
        lab.wire.heed = self._observer.heed
        lab.wire.running = Label(case=BUILDING)
        lab.guard.refused.clear()
        lab.providers.candidates = scene.order or tuple(self._promises.load_balanced or ())
        calls = lab.fresh_log()
        first = scene.acts[0].wall if scene.acts else None
        lab.clock.set(first or NOON)
        self._observer.begin(lab.clock.now)
        return player, calls, set(threading.enumerate())

    def _built(self, player: ScenePlayer, calls: Any) -> tuple[tuple[SeenCall, ...], tuple[str, ...]]:
        lab = self._lab
        lab.wall.scan()
        return tuple(self._observer.seen_call(player, call) for call in calls), tuple(lab.guard.refused)

    def _not_built(self, scene: Scene, player: ScenePlayer, calls: Any, before: Any, error: SubjectError) -> Played:
        """What was seen of a router that cannot be built without some keys; with all of them that is an error."""
        if scene.keys is None:
            raise error
        ended = self._end(scene, (), self._built(player, calls), None, before, (), None)
        return replace(ended, not_built=error.__cause__ or error)

    def _prepare(self, player: ScenePlayer, act: Act, number: int) -> list[Notes]:
        if act.wall is not None:
            self._lab.clock.set(act.wall)
        notes = [
            Notes(ask=ask, case=f"{number}.{place}", request=_own_copy(ask.request))
            for place, ask in enumerate(act.asks)
        ]
        player.begin(act, [note.case for note in notes])
        return notes

    def _function(self, request: RoutingRequest) -> Callable[..., Any]:
        stream = getattr(self._subject, "stream", None)
        chosen: Callable[..., Any] = stream if request.stream and stream is not None else self._subject.ask
        return chosen

    @contextmanager
    def _under_way(self, notes: Notes) -> Generator[None]:
        """Label the calls of a request, time it, and take down how it ended."""
        notes.started = self._now()
        try:
            with labelled(Label(case=notes.case, calls=notes.calls)):
                yield
        except (*_ENDLESS, NoSuchForm, KeyboardInterrupt):
            raise
        except (Exception, asyncio.CancelledError, SystemExit) as error:  # noqa: BLE001 - what it raises is judged
            if isinstance(error, asyncio.CancelledError) and notes.outcome == "cancelled":
                notes.error = None
            else:
                notes.outcome, notes.error = "raised", error
        finally:
            notes.ended = self._now()

    @staticmethod
    def _fatal(player: ScenePlayer) -> BaseException | None:
        """What ended the scene, also where the router has swallowed it; what says nothing is raised."""
        if isinstance(player.fatal, NoSuchForm):
            raise player.fatal
        return player.fatal

    def _now(self) -> float:
        return self._observer.since(self._lab.clock.now)

    def _seen_act(self, player: ScenePlayer, notes: Sequence[Notes], began: float, spent: Decimal | None) -> SeenAct:
        self._lab.wire.calls.settle()
        by_case: dict[str, list[ProviderCall]] = {}
        for call in self._lab.wire.calls:
            by_case.setdefault(call.case or "", []).append(call)
        asks = tuple(self._observer.seen_ask(player, note, by_case.get(note.case, [])) for note in notes)
        return SeenAct(asks=asks, spent=spent, began=began)

    def _by_now(self, player: ScenePlayer, acts: Sequence[SeenAct]) -> list[SeenAct]:
        """The acts with what has become of calls that were still under way when theirs was over."""
        now = {call.number: call for call in self._lab.wire.calls}

        def later(ask: SeenAsk) -> SeenAsk:
            calls = (self._observer.seen_call(player, now[c.number]) if c.ended is None else c for c in ask.calls)
            return replace(ask, calls=tuple(calls))

        return [replace(act, asks=tuple(map(later, act.asks))) for act in acts]

    def _end(
        self,
        scene: Scene,
        acts: Sequence[SeenAct],
        built: tuple[tuple[SeenCall, ...], tuple[str, ...]],
        spent_before: Decimal | None,
        before: Any,
        tasks: tuple[str, ...],
        endless: BaseException | None,
    ) -> Played:
        server = self._lab.server
        left = [
            thread
            for thread in threading.enumerate()
            if thread not in before and thread.is_alive() and not server.is_own(thread) and thread.name[:7] != "asyncio"
        ]
        return Played(
            scene=scene,
            acts=tuple(acts),
            spent_before=spent_before,
            building=built[0],
            refused_while_building=built[1],
            changed=changed_since_bound(type(cast("object", self._subject))),
            keyed=frozenset(self._lab.providers.keyed),
            leftovers=(*tasks, *(f"thread {thread.name!r}" for thread in left)),
            endless=None if endless is None else str(endless),
        )


def _drop(awaitable: Any) -> None:
    """A coroutine that is not awaited would be warned of."""
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()


def _own_copy(request: RoutingRequest) -> RoutingRequest:
    """A copy that a router may spoil."""
    return replace(request, params=copy.deepcopy(dict(request.params)), options=copy.deepcopy(dict(request.options)))


def _describe(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    return f"task {getattr(coroutine, '__qualname__', None) or task.get_name()}"
