"""How a test itself ended, beside what the plugin has to say of it."""

from __future__ import annotations

import traceback
from collections.abc import Collection
from typing import cast

from pytest_modelroute.errors import (
    BudgetExceeded,
    ModelRouteError,
    NetworkBlocked,
    ProviderError,
    ScriptRaised,
    UnscriptedCall,
    WorkflowError,
)
from pytest_modelroute.wire.network_guard import STAYS
from pytest_modelroute.wire.places import raise_sites

_OF_THE_ROUTER = (ProviderError, BudgetExceeded, WorkflowError)
"What an application may handle: where it does not, it is named by its class, as it would be caught."


def describe_ending(error: BaseException | None, *, full: bool) -> list[str]:
    """
    Say what the test raised; nothing where our own refusal is all that it raised.

    Args:
        error: What the test raised, or None.
        full: Whether to show the whole traceback, and not only the places in the user's code.

    """
    if error is None or isinstance(error, UnscriptedCall | ScriptRaised):
        return []
    if full:
        return ["the test itself ended with:\n" + "".join(traceback.format_exception(error)).rstrip()]
    places = "".join(f"\n  at {place}" for place in raise_sites(error))
    # A client wraps our refusal in an error of its own, words and all: they stand above already.
    said = "" if STAYS in str(error) else f": {error}"
    return [f"the test itself ended with {type(error).__name__}{said}{places}\n(all of it with --full-trace)"]


def is_said(error: BaseException, messages: Collection[str]) -> bool:
    """Whether an error, or each in a group of them, says nothing but one of these messages."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_said(each, messages) for each in cast("BaseExceptionGroup[BaseException]", error).exceptions)
    return str(error) in messages


def describe_own_error(error: BaseException | None, *, full: bool) -> list[str]:
    """
    An error of ours as its message and the places in the user's code; nothing for any other error.

    Args:
        error: What the test raised, or None.
        full: Whether the whole traceback is wanted, which pytest shows then.

    """
    if full or not isinstance(error, ModelRouteError) or isinstance(error, NetworkBlocked):
        return []
    places = "".join(f"\n  at {place}" for place in raise_sites(error))
    if isinstance(error, _OF_THE_ROUTER):
        return [f"{type(error).__name__}: {error}{places}\n(all of it with --full-trace)"]
    return [f"{error}{places}"]
