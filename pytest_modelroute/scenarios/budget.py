"""A budget that runs out by hand: spend, ask, let time pass, and see what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, cast

from pytest_modelroute.errors import PromiseError, ScriptError
from pytest_modelroute.invariants.binding import promises_of
from pytest_modelroute.invariants.checking import Surroundings, atlas_of, staged
from pytest_modelroute.invariants.laws._amounts import total
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.scenes import Act, Ask, Good, Scene, Script
from pytest_modelroute.invariants.stage import NOON
from pytest_modelroute.scenarios.judging import Story, timeline_of

if TYPE_CHECKING:
    from pytest_modelroute.invariants.atlas import Atlas
    from pytest_modelroute.invariants.promises import BudgetPromise, Promises
    from pytest_modelroute.invariants.seen import Played, SeenAsk
    from pytest_modelroute.scenarios.timeline import Entry, Timeline

_LATENCY_S: Final = 0.2
FITS: Final = Script(good=Good(fits=True, latency=_LATENCY_S))
"Answers as long as the request allows."
_QUIET: Final = Act(asks=(), pause=5.0)
"Time for a router that books a moment later."


@dataclass(frozen=True, slots=True)
class _Step:
    """One act, and whether what it costs is the scenario's own doing."""

    act: Act
    spends: bool = False


class BudgetScenario:
    """
    One router and its budget.

    Nothing runs between the calls of a scenario: each plays it from its beginning with a new router, in virtual time,
    and every time to the same result. A promise that breaks raises an AssertionError with the timeline.
    """

    def __init__(self, kind: type[Any], *, surroundings: Surroundings, title: str, check: bool = True) -> None:
        """
        Nothing is spent yet; it is noon (UTC) of 2026-06-15.

        Args:
            kind: A class of RoutingInvariants that promises a budget.
            surroundings: Prices and hosts of the project.
            title: The first line of the timeline.
            check: Whether a broken promise raises; else it is only in the timeline.

        """
        self._stale = False
        self._atlas: Atlas | None = None
        self._kind = kind
        self._surroundings = surroundings
        self._title = title
        self._check = check
        self._steps: list[_Step] = []
        self._begin = NOON
        self._pause = 0.0
        self._fresh: dict[str, str | None] = {}
        self._told: Timeline | None = None
        self._played: Played | None = None

    @property
    def promises(self) -> Promises:
        """Those of the class."""
        return promises_of(self._kind)

    @property
    def budget(self) -> BudgetPromise:
        """What may be spent."""
        assert self.promises.budget is not None  # noqa: S101 - checked when the scenario was made
        return self.promises.budget

    @property
    def remaining(self) -> Decimal:
        """USD of the budget that are left in this window, by what went over the wire; below 0 for too much."""
        return self.budget.cap - self.spent

    @property
    def spent(self) -> Decimal:
        """USD that were spent in the window that it is."""
        from pytest_modelroute.invariants.laws.budget_windows import windows_of
        from pytest_modelroute.scenarios.judging import moment_call

        self._play()
        if self._played is None:
            return Decimal(0)
        now = windows_of(self.budget, moment_call((self.now - self._begin).total_seconds()), self._begin)
        calls = self._played.calls
        here = [call for call in calls if now & windows_of(self.budget, moment_call(call.started), self._begin)]
        return total(here)

    @property
    def now(self) -> datetime:
        """What the wall clock shows."""
        self._play()
        ended = 0.0 if self._played is None else max((ask.ended for ask in self._played.asks), default=0.0)
        return self._begin + timedelta(seconds=ended + self._pause)

    def advance(self, seconds: float) -> None:
        """
        Let time pass before the next request.

        Raises:
            ScriptError: A negative number of seconds.

        """
        if seconds < 0:
            raise ScriptError(f"budget_scenario: advance({seconds!r}): time moves forward")
        self._pause += seconds

    def set(self, moment: datetime) -> None:
        """
        Let time pass until a moment.

        Raises:
            ScriptError: A moment without a time zone, or one that has passed.

        """
        if moment.tzinfo is None:
            raise ScriptError(f"budget_scenario: set({moment!r}) has no time zone; give it one: tzinfo=ZoneInfo(...)")
        if not self._steps:
            self._begin, self._pause = moment, 0.0
        elif moment < self.now:
            raise ScriptError(f"budget_scenario: set({moment}): it is {self.now} already, and time moves forward")
        else:
            self._pause += (moment - self.now).total_seconds()

    def spend(self, usd: float | Decimal | str, *, request: str | RoutingRequest | None = None, **ask: Any) -> Entry:
        """
        Ask for something that costs so much, classification included, whatever is left.

        Args:
            usd: What the answer costs, as exactly as whole tokens allow.
            request: What is asked; a plain question where left out.
            ask: As for `ask`.

        Returns:
            What became of it: a router without money for it refuses, and nothing is spent.

        """
        amount = Decimal(str(usd))
        if not amount > 0:
            raise ScriptError(f"budget_scenario: spend({usd!r}): an amount of USD above 0 was expected")
        good = Good(spends_up_to=self._in_all + amount, latency=_LATENCY_S)
        self.plan([self.request(request, **ask)], Script(good=good), spends=True)
        return self.finish().entries[-1]

    def spend_to(self, share: Decimal, *, request: str | RoutingRequest | None = None, **ask: Any) -> None:
        """Ask for something that leaves a share of the budget, below 0 for more than there is."""
        others = self._in_all - self.spent if self._windows_passed else Decimal(0)
        good = Good(spends_up_to=others + self.budget.cap * (1 - share), latency=_LATENCY_S)
        self.plan([self.request(request, **ask)], Script(good=good), spends=True)

    def ask(self, request: str | RoutingRequest | None = None, **ask: Any) -> Entry:
        """
        Ask the router.

        Args:
            request: The prompt, or a whole request; a plain question where left out.
            ask: `step`, `critical`, `category`, `stream`, `params` and other parts of a `RoutingRequest`; `label`, what
                a declared classifier answers; `close_after`, chunks after which a stream is closed; `cancel_after`,
                seconds after which an async router is given up; `script`, what the providers do in place of answers
                as long as the request allows.

        """
        __tracebackhide__ = True
        script = ask.pop("script", None) or FITS
        self.plan([self.request(request, **ask)], script)
        return self.finish().entries[-1]

    def ask_many(self, count: int, request: str | RoutingRequest | None = None, **ask: Any) -> Sequence[Entry]:
        """Ask the same so many times at once."""
        if count < 1:
            raise ScriptError(f"budget_scenario: ask_many({count!r}): 1 or more was expected")
        __tracebackhide__ = True
        script = ask.pop("script", None) or FITS
        self.plan([self.request(request, **ask)] * count, script)
        return self.finish().entries[-count:]

    def timeline(self) -> Timeline:
        """What happened so far."""
        from pytest_modelroute.scenarios.timeline import Timeline

        self._play()
        return self._told or Timeline(title=self._title)

    def finish(self) -> Timeline:
        """
        Play what was not played yet, and judge it.

        Raises:
            AssertionError: A promise broke, and that is checked.

        """
        __tracebackhide__ = True
        told = self.timeline()
        if self._check and not told.ok:
            raise AssertionError(str(told))
        return told

    def request(self, request: str | RoutingRequest | None = None, **changes: Any) -> Ask:
        """
        A request as `ask` makes it.

        Raises:
            ScriptError: No such part of a request.

        """
        from pytest_modelroute.invariants.strategies import first_step

        moments = {
            name: changes.pop(name) for name in ("label", "close_after", "cancel_after", "at") if name in changes
        }
        known = RoutingRequest.__dataclass_fields__
        for name in changes:
            if name not in known:
                raise ScriptError(f"budget_scenario: a request has no {name!r}; known are: {', '.join(known)}")
        if not isinstance(request, RoutingRequest):
            changes = {"step": first_step(self.promises), **changes}
            request = RoutingRequest(prompt="Where is my order?" if request is None else request)
        return Ask(request=replace(request, **changes), **moments)

    def atlas(self) -> Atlas:
        """Which requests reach which models, where nothing is spent."""
        if self._atlas is None:
            with staged(self._kind, self.promises, self._surroundings) as stage:
                self._atlas = atlas_of(self._kind, self.promises, stage)
        return self._atlas

    @property
    def _windows_passed(self) -> bool:
        return any(step.act.pause for step in self._steps) or bool(self._pause and self._steps)

    @property
    def _in_all(self) -> Decimal:
        self._play()
        calls = () if self._played is None else self._played.calls
        return total(calls)

    def plan(self, asks: Sequence[Ask], script: Script, *, spends: bool = False) -> None:
        """
        Add requests that are made at once, without playing them yet.

        Args:
            asks: As `request` makes them.
            script: What the providers do.
            spends: Whether what it costs is the scenario's own doing, and may exceed the budget.

        """
        if not self._steps:
            self._begin += timedelta(seconds=self._pause)
        pause, wall = (self._pause, None) if self._steps else (0.0, self._begin)
        self._steps.append(_Step(Act(asks=tuple(asks), script=script, pause=pause, wall=wall), spends))
        self._pause, self._stale = 0.0, True

    def _play(self) -> None:
        if not self._stale:
            return
        self._stale = False
        scene = Scene(acts=(*(step.act for step in self._steps), _QUIET))
        with staged(self._kind, self.promises, self._surroundings) as stage:
            known = atlas_of(self._kind, self.promises, stage)
            stage.learned, stage.is_async = known.learned, known.is_async
            played = self._played = stage.play(scene)
            for ask in played.asks:
                if (key := repr((ask.ask.request, ask.ask.label))) not in self._fresh:
                    alone = Ask(request=ask.ask.request, label=ask.ask.label)
                    self._fresh[key] = stage.play(Scene(acts=(Act(asks=(alone,)),))).only.head
        story = Story(
            promises=self.promises,
            played=played,
            begin=self._begin,
            spends=frozenset(number for number, step in enumerate(self._steps) if step.spends),
            preferred=self._preferred,
        )
        self._told = timeline_of(story, self._title)

    def _preferred(self, seen: SeenAsk) -> str | None:
        return self._fresh.get(repr((seen.ask.request, seen.ask.label)))


class BudgetScenarios:
    """The fixture `budget_scenario`: a scenario by hand, or one of the stock ones by name."""

    def __init__(self, surroundings: Surroundings) -> None:
        """Prices and hosts are those of the project."""
        self._surroundings = surroundings

    def __call__(self, subject: type[Any] | Callable[[], Any], *, check: bool = True) -> BudgetScenario:
        """
        Begin a scenario.

        Args:
            subject: A class of RoutingInvariants that promises a budget, or a factory of `ModelRouter`.
            check: Whether a promise that breaks fails the test at once; else it is in the timeline.

        Raises:
            PromiseError: It promises no budget.

        """
        kind = self._kind(subject)
        return BudgetScenario(kind, surroundings=self._surroundings, title=f"{kind.__name__}, by hand", check=check)

    def run(self, name: str, subject: type[Any] | Callable[[], Any], *, check: bool = True) -> Timeline:
        """
        Play a stock scenario.

        Args:
            name: One of `BUDGET_SCENARIOS`.
            subject: As for a scenario by hand.
            check: Whether a promise that breaks fails the test; else it is in the timeline.

        Raises:
            ScriptError: No such scenario.
            PromiseError: The subject promises no budget.

        """
        __tracebackhide__ = True
        from pytest_modelroute.scenarios.stock import STOCK

        if name not in STOCK:
            near = get_close_matches(name, STOCK, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(STOCK)}"
            raise ScriptError(f"budget_scenario: there is no stock scenario {name!r}; {hint}")
        kind = self._kind(subject)
        title = f"{kind.__name__}, {name}: {STOCK[name].__doc__}"
        scenario = BudgetScenario(kind, surroundings=self._surroundings, title=title, check=check)
        STOCK[name](scenario)
        return scenario.finish()

    def _kind(self, subject: Any) -> type[Any]:
        from pytest_modelroute.invariants import RoutingInvariants
        from pytest_modelroute.scenarios.own_router import class_for

        if isinstance(subject, type) and RoutingInvariants in subject.__mro__:
            kind = cast("type[Any]", subject)
        elif callable(subject):
            kind = class_for(cast("Callable[[], Any]", subject))
        else:
            raise PromiseError(
                f"budget_scenario({subject!r}): a class of RoutingInvariants that promises a budget was expected, or a "
                "factory of ModelRouter"
            )
        if promises_of(kind).budget is None:
            raise PromiseError(f"{kind.__name__} promises no budget; add budget = BudgetPromise(usd)")
        return kind
