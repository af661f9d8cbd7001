"""What several laws of selection need: what a router chose, and what excuses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.seen import SeenAsk

_CRASHES: Final = (LookupError, AttributeError, TypeError, NameError, AssertionError, RecursionError)
"Exceptions of a slip in code; no router says so that its budget is gone."


def labels_of(promises: Promises) -> Mapping[str, str]:
    """Label of the classifier -> tier; none where no classifier is declared."""
    return promises.classifier.labels if promises.classifier is not None else {}


def decided(promises: Promises) -> bool:
    """Whether a request alone decides on the model that is asked first: not a split, nor a race of several at once."""
    return promises.load_balanced is None and promises.hedge_after != 0


def reached(ask: SeenAsk, model: str | None) -> bool:
    """Whether a model was chosen: asked first, or the one that answered (a classifier may be asked twice before)."""
    if model is not None and unlike(ask):
        return model in {call.model for call in ask.calls}
    return model is not None and model in (ask.head, ask.route)


def unlike(ask: SeenAsk) -> bool:
    """
    Whether a request ended well, with no call that counts as an answer.

    Where the classifier's model answers requests too, and its calls for both look alike, a request that was not
    classified at all looks as if it had only been that.
    """
    return ask.error is None and not ask.answering


def excused(promises: Promises, ask: SeenAsk) -> bool:
    """Whether a request ended in a refusal that the router may give: a documented one, or for the sake of a budget."""
    if ask.error is None:
        return False
    if isinstance(ask.error, promises.refuses):
        return True
    return promises.budget is not None and not ask.answering and not isinstance(ask.error, _CRASHES)


def ended(ask: SeenAsk) -> str:
    """Where a request went, or how it ended, in words."""
    if ask.head is not None:
        return ask.head if ask.route in (None, ask.head) else f"{ask.head}, then {ask.route}"
    return "no model" if ask.error is None else f"no model: ask raised {type(ask.error).__name__}: {ask.error}"
