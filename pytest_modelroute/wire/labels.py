"""Which step and case a call of a provider belongs to, carried by a context variable into tasks."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, cast

from pytest_modelroute.errors import EvaluationError

if TYPE_CHECKING:
    from pytest_modelroute.wire.case_run import CaseRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The step and case that the code under test is at."""

    step: str | None = None
    case: str | None = None
    calls: list[Any] | None = field(default=None, compare=False)
    "Where an evaluation collects the calls of this case; None outside of one."
    run: CaseRun | None = field(default=None, compare=False)
    "Which run of the case it is, where a case is run on several models; None elsewhere."


_current: ContextVar[Label | None] = ContextVar("modelroute_label", default=None)


def current_label() -> Label | None:
    """The label of the running context, or None where it carries none (a foreign thread, code outside any label)."""
    return _current.get()


@contextmanager
def labelled(label: Label) -> Generator[None]:
    """Label everything that runs in this block, tasks started in it included."""
    token = _current.set(label)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def step_label(step: str) -> Generator[None]:
    """Name the step of this block; the case stays as it is."""
    outer = _current.get() or Label()
    with labelled(replace(outer, step=step)):
        yield


@contextmanager
def attributed(function: Callable[..., Any], step: str) -> Generator[None]:
    """
    Label every call of a function with a step, wherever a loaded module or its class refers to it, for this block.

    Raises:
        EvaluationError: Nothing importable holds the function, so that wrapping it would change nothing.

    """
    if not callable(function):
        raise EvaluationError(f"call_log.attribute takes the function itself, not {function!r}")
    places = list(_places(function))
    if not places:
        raise _not_labelled(function, step)
    done: list[tuple[Any, str, Any]] = []
    try:
        for owner, name in places:
            own = getattr(owner, "__dict__", {}).get(name, _ABSENT)
            try:
                setattr(owner, name, _wrap_as(inspect.getattr_static(owner, name), function, step))
            except AttributeError:
                raise _not_labelled(function, step) from None
            done.append((owner, name, own))
        yield
    finally:
        for owner, name, own in done:
            if own is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, own)


_ABSENT: Final = object()


def _not_labelled(function: object, step: str) -> EvaluationError:
    return EvaluationError(
        f"call_log.attribute({function!r}, step={step!r}): no loaded module, class or instance holds this function in "
        "a place that can be changed, so its calls cannot be labelled; label the block instead: "
        "with call_log.label(step=...)"
    )


def _places(function: Callable[..., Any]) -> Iterator[tuple[Any, str]]:
    """Every (owner, name) that holds the function: modules, and the class or instance of a method."""
    holder, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if holder is not None and not inspect.ismodule(holder):
        yield holder, name
        return
    for module in list(sys.modules.values()):
        for key, value in list(getattr(module, "__dict__", {}).items()):
            if value is function:
                yield module, key
    owner_name, _, _ = getattr(function, "__qualname__", "").rpartition(".")
    owner = getattr(sys.modules.get(getattr(function, "__module__", "")), owner_name, None) if owner_name else None
    if inspect.isclass(owner) and name in vars(owner) and getattr(owner, name) is function:
        yield owner, name


def _wrap_as(held: Any, function: Callable[..., Any], step: str) -> Any:
    """The labelled function as its owner holds it: a class method or static method stays one."""
    if isinstance(held, classmethod):
        return classmethod(_wrap(cast("Any", held).__func__, step))
    if isinstance(held, staticmethod):
        return staticmethod(_wrap(cast("Any", held).__func__, step))
    return _wrap(function, step)


def _wrap(function: Callable[..., Any], step: str) -> Callable[..., Any]:
    call = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    for is_kind, wrap in (
        (inspect.isasyncgenfunction, _wrap_async_stream),
        (inspect.isgeneratorfunction, _wrap_stream),
        (inspect.iscoroutinefunction, _wrap_async),
    ):
        if is_kind(function) or is_kind(call):
            return functools.wraps(function)(wrap(function, step))
    return functools.wraps(function)(_wrap_plain(function, step))


def _wrap_plain(function: Callable[..., Any], step: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with step_label(step):
            return function(*args, **kwargs)

    return call


def _wrap_async(function: Callable[..., Any], step: str) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        with step_label(step):
            return await function(*args, **kwargs)

    return call


def _wrap_stream(function: Callable[..., Any], step: str) -> Callable[..., Any]:
    def stream(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        # The label is set for each piece anew: between pieces the caller's code runs.
        pieces = function(*args, **kwargs)
        resume = functools.partial(next, pieces)
        while True:
            with step_label(step):
                try:
                    piece = resume()
                except StopIteration as end:
                    return end.value
            try:
                sent = yield piece
            except GeneratorExit:
                with step_label(step):
                    pieces.close()
                raise
            except BaseException as error:  # noqa: BLE001 - thrown in by the caller, for the function to handle
                resume = functools.partial(pieces.throw, error)
            else:
                resume = functools.partial(pieces.send, sent)

    return stream


def _wrap_async_stream(function: Callable[..., Any], step: str) -> Callable[..., Any]:
    async def stream(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        pieces = function(*args, **kwargs)
        resume = functools.partial(anext, pieces)
        while True:
            with step_label(step):
                try:
                    piece = await resume()
                except StopAsyncIteration:
                    return
            try:
                sent = yield piece
            except GeneratorExit:
                with step_label(step):
                    await pieces.aclose()
                raise
            except BaseException as error:  # noqa: BLE001 - as above
                resume = functools.partial(pieces.athrow, error)
            else:
                resume = functools.partial(pieces.asend, sent)

    return stream
