"""How a test itself ended, in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_modelroute.errors import (
    BudgetExceeded,
    CasesError,
    EvaluationError,
    NetworkBlocked,
    ProviderError,
    ScriptRaised,
    UnscriptedCall,
    WorkflowError,
)
from pytest_modelroute.report.ending import describe_ending, describe_own_error
from pytest_modelroute.wire.places import short_path


def _raise(error: BaseException, cause: BaseException | None) -> None:
    raise error from cause


def _raised(error: BaseException, *, cause: BaseException | None = None) -> BaseException:
    """The error with a traceback that ends in `_raise`."""
    with pytest.raises(type(error)) as caught:
        _raise(error, cause)
    return caught.value


def _place(function: Callable[..., object], line: int, source: str) -> str:
    return f"{short_path(__file__)}:{function.__code__.co_firstlineno + line}, in {function.__name__}: {source}"


@pytest.mark.parametrize("error", [None, UnscriptedCall("no script")])
def test_a_test_that_passed_or_met_our_refusal_has_no_ending(error: BaseException | None) -> None:
    """The refusal has been told already."""
    assert describe_ending(error, full=False) == []


def test_an_ending_names_the_error_and_its_places() -> None:
    """What the test made of the outage, and where, in a line each."""
    (text,) = describe_ending(_raised(KeyError("model")), full=False)
    assert text == (
        "the test itself ended with KeyError: 'model'\n"
        f"  at {_place(_raised, 3, '_raise(error, cause)')}\n"
        f"  at {_place(_raise, 1, 'raise error from cause')}\n"
        "(all of it with --full-trace)"
    )


def test_an_ending_in_full_is_the_traceback() -> None:
    """For --full-trace."""
    (text,) = describe_ending(_raised(KeyError("model")), full=True)
    assert (text.partition("\n")[0], text.splitlines()[1], text.splitlines()[-1]) == (
        "the test itself ended with:",
        "Traceback (most recent call last):",
        "KeyError: 'model'",
    )


def test_a_script_that_raised_is_told_by_the_wire() -> None:
    """Its message and traceback stand there already, also where the code under test swallowed it."""
    assert describe_ending(_raised(ScriptRaised("script 1 raised")), full=False) == []


@pytest.mark.parametrize("kind", [EvaluationError, CasesError])
def test_an_error_of_ours_is_its_message_and_the_places(kind: type[Exception]) -> None:
    """Without our own frames, which say nothing to who reads it."""
    (text,) = describe_own_error(_raised(kind("which step is it?")), full=False)
    assert text == (
        "which step is it?\n"
        f"  at {_place(_raised, 3, '_raise(error, cause)')}\n"
        f"  at {_place(_raise, 1, 'raise error from cause')}"
    )


@pytest.mark.parametrize(
    "error",
    [
        ProviderError("overloaded", model="m", status=529, code=None, retry_after=None),
        BudgetExceeded("nothing is left"),
        WorkflowError("step 'triage' failed", step="triage"),
    ],
)
def test_an_error_of_the_router_is_named_by_its_class(error: Exception) -> None:
    """As one would catch it; our own frames, through which it came, say nothing to who reads it."""
    (text,) = describe_own_error(_raised(error), full=False)
    assert text == (
        f"{type(error).__name__}: {error}\n"
        f"  at {_place(_raised, 3, '_raise(error, cause)')}\n"
        f"  at {_place(_raise, 1, 'raise error from cause')}\n"
        "(all of it with --full-trace)"
    )


@pytest.mark.parametrize("error", [None, KeyError("model"), NetworkBlocked("a connection")])
def test_a_foreign_error_is_not_ours(error: BaseException | None) -> None:
    """And a refused connection is told by the guard."""
    assert describe_own_error(error, full=False) == []


def test_with_the_full_trace_pytest_shows_all() -> None:
    """Nothing of ours stands in its place."""
    assert describe_own_error(_raised(EvaluationError("which step is it?")), full=True) == []
