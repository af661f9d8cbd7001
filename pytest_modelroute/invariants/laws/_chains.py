"""What the laws of failover share: who was entered, whether there was time, and what an error says of a failure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.scenes import Fails, Scene
from pytest_modelroute.invariants.seen import SeenAsk, SeenCall
from pytest_modelroute.wire.faults import Refusal

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

_TIME_LEFT: Final = 0.25
_LEAST_LEFT_S: Final = 1.5
"A router that has less than this left, or than a quarter of its deadline, may rightly give up."
_SMALL_BUDGET: Final = 0.05
"USD below which a second call may be more than what is left."
_DEPTH: Final = 5
_TEN: Final = 10
PLAIN_CLASSES: Final = ("rate_limited", "unavailable", "server_error")
"What routers fall back on where they do not say."


def single_path(promises: Promises) -> bool:
    """Whether a request has one candidate at a time, in an order that is declared."""
    return promises.cascade is None and promises.hedge_after is None and promises.load_balanced is None


def entered(ask: SeenAsk) -> tuple[tuple[str, str], ...]:
    """The candidates in the order in which each was asked first."""
    return tuple(dict.fromkeys(call.candidate for call in ask.answering))


def calls_of(ask: SeenAsk, candidate: tuple[str, str]) -> tuple[SeenCall, ...]:
    """The answering calls of one candidate."""
    return tuple(call for call in ask.answering if call.candidate == candidate)


def limit_of(promises: Promises, ask: SeenAsk) -> float | None:
    """Seconds that a request may take: the class's deadline, or the smaller one that the request carries."""
    own = ask.ask.request.options.get("deadline") if "deadline" in promises.options else None
    limits = [float(limit) for limit in (promises.deadline, own) if limit is not None]
    return min(limits, default=None)


def had_time(promises: Promises, ask: SeenAsk) -> bool:
    """
    Whether a request that failed could have gone on.

    Not where its deadline was near, and not where the router gave up a call by a clock of its own that it did not
    declare: the wire sees that as a cancelled call, other than a time-out of the client.
    """
    limit = limit_of(promises, ask)
    if limit is not None:
        return limit - ask.elapsed >= max(_TIME_LEFT * limit, _LEAST_LEFT_S)
    return not any(call.error == "cancelled" for call in ask.calls[-1:])


def out_of_money(promises: Promises, ask: SeenAsk) -> bool:
    """Whether a request that failed may have been refused for what it would cost."""
    if promises.budget is None:
        return False
    said = f"{type(ask.error).__name__} {ask.error}".casefold()
    return promises.budget.cap < _SMALL_BUDGET or "budget" in said or "spend" in said or "spent" in said


def some_of(cells: Sequence[SearchStrategy[Any]], *, often: int) -> SearchStrategy[list[Scene]]:
    """
    Some of these scenes (or short lists of them), each in so many of ten trials; smaller examples have fewer.

    Many small scenes in one trial see to it that every seed meets every kind of fault.
    """
    from hypothesis import strategies as st

    @st.composite
    def draw_some(draw: DrawFn) -> list[Scene]:
        chosen = [draw(cell) for cell in cells if draw(st.integers(0, _TEN - 1)) >= _TEN - often]
        rows: list[Scene | list[Scene]] = chosen or [draw(cells[0])]
        return [scene for row in rows for scene in (row if isinstance(row, list) else [row])]

    return draw_some() if cells else st.nothing()


def reworded(fails: Fails, message: str) -> Fails:
    """The same fault in other words; the class of an error is in its status and code."""
    assert isinstance(fails.fault, Refusal)  # noqa: S101 - the caller's choice
    return replace(fails, fault=replace(fails.fault, message=message))


# ------------------------------------------------------------ what an error says


def names_failure(error: BaseException, calls: Sequence[SeenCall]) -> bool:
    """
    Whether an error says anything at all of the failures of a candidate.

    Its message, its status, its class or its model, in the error itself, in its cause, in its notes, in the members of
    a group or in what it keeps in its attributes.
    """
    words, numbers = _marks(calls)
    for value in _said(error, depth=0, seen=set()):
        if isinstance(value, int) and value in numbers:
            return True
        if isinstance(value, str) and any(word in value.casefold() for word in words):
            return True
    return False


def _marks(calls: Sequence[SeenCall]) -> tuple[set[str], set[int]]:
    words, numbers = set[str](), set[int]()
    for call in calls:
        words |= {call.model.casefold()}
        if call.error is not None:
            words |= {call.error.casefold(), call.error.replace("_", " ").casefold()}
            words |= {call.error.replace("_", "").casefold()}
        if call.status is not None and call.error is not None:
            words.add(str(call.status))
            numbers.add(call.status)
        if isinstance(call.behaviour, Fails) and isinstance(call.behaviour.fault, Refusal):
            words.add(call.behaviour.fault.message.casefold())
    return words, numbers


def _said(value: object, *, depth: int, seen: set[int]) -> Iterator[object]:
    """Every text and number in an error, as far as it is not hidden by `raise ... from None`."""
    if id(value) in seen or depth > _DEPTH:
        return
    seen.add(id(value))
    if isinstance(value, str | int):
        yield value
        return
    if isinstance(value, BaseException):
        yield f"{type(value).__name__} {value} {value!r}"
    for part in _inside(value):
        yield from _said(part, depth=depth + 1, seen=seen)


def _inside(value: object) -> Iterable[object]:
    """What a value holds: an error what it came from and what it keeps, a collection its items, a future its error."""
    if isinstance(value, BaseException):
        return _parts(value)
    if isinstance(value, Mapping):
        table = cast("Mapping[object, object]", value)
        return [*table.keys(), *table.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return cast("Iterable[object]", value)
    if callable(getattr(value, "exception", None)):
        return [_result_of(value)]
    return [getattr(value, "status_code", None)]


def _parts(error: BaseException) -> list[Any]:
    hidden = error.__suppress_context__
    return [
        error.__cause__,
        None if hidden else error.__context__,
        *getattr(error, "__notes__", ()),
        *getattr(error, "exceptions", ()),
        *error.args,
        *vars(error).values(),
        *(getattr(error, name, None) for name in ("status_code", "code", "status")),
    ]


def _result_of(future: Any) -> object:
    """The error in a finished future, as tenacity keeps the last attempt."""
    try:
        return future.exception(timeout=0)
    except Exception:  # noqa: BLE001 - whatever it is, it says nothing
        return None
