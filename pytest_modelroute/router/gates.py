"""Gates say whether the answer of a cascade's tier will do. `confidence.py` and `verifiers.py` have those to choose."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from pytest_modelroute.errors import AnswerRejected, MissingExtra, SettingsError, VerifierFailed
from pytest_modelroute.providers.language import show
from pytest_modelroute.router.calls import Clocks, RequestContext
from pytest_modelroute.router.requests import ModelRequest, ModelResponse
from pytest_modelroute.router.routine import Verify


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What a gate says of an answer."""

    accepted: bool
    reason: str = ""
    "Why not; empty for an answer that will do."
    text: str | None = None
    "The answer without what the gate asked for on top; None for all of it."
    confidence: float | None = None
    "How sure the model says it is, 0 to 1; None where it was not asked, or said nothing that can be read."


class Gate(Protocol):
    """Says whether an answer will do. One of your own derives from it and has `check` at least."""

    def check(
        self, request: ModelRequest, response: ModelResponse, *, context: RequestContext | None = None
    ) -> Ruling | bool:
        """
        Whether an answer will do.

        Args:
            request: What was asked, without what `prepare` adds.
            response: The answer.
            context: That of the request; pass it to the calls of a `ModelClient`, so that they are on its bill.

        Raises:
            AnswerRejected: It will not; the same as False, with a reason.

        """
        ...

    async def acheck(
        self, request: ModelRequest, response: ModelResponse, *, context: RequestContext | None = None
    ) -> Ruling | bool:
        """The same in async code."""
        return self.check(request, response, context=context)

    def prepare(self, request: ModelRequest, /) -> ModelRequest:
        """What a tier is asked whose answer is checked; the strongest, which is not, is asked the request itself."""
        return request

    def question(self, _request: ModelRequest, _response: ModelResponse, /) -> tuple[str, ModelRequest] | None:
        """The model that a check asks (its alias) and what, so that the budget reserves for it; None for none."""
        return None


class FunctionGate(Gate):
    """A function of the text of an answer; see `verified_by`."""

    def __init__(self, function: Callable[[str], Any], name: str) -> None:
        """Call nothing yet."""
        self.name = name
        self._function = function

    def check(
        self,
        request: ModelRequest,  # noqa: ARG002 - a function sees the text alone
        response: ModelResponse,
        *,
        context: RequestContext | None = None,  # noqa: ARG002 - it asks no model of ours
    ) -> Any:
        """What the function says."""
        said = self._function(response.text)
        if not inspect.isawaitable(said):
            return said
        if inspect.iscoroutine(said):
            said.close()
        raise TypeError("it is async: route with aroute or astream")

    async def acheck(
        self,
        request: ModelRequest,  # noqa: ARG002 - as above
        response: ModelResponse,
        *,
        context: RequestContext | None = None,  # noqa: ARG002 - as above
    ) -> Any:
        """What the function says, awaited where it is async."""
        said = self._function(response.text)
        return await said if inspect.isawaitable(said) else said


def verified_by(function: Callable[[str], Any], *, name: str | None = None) -> Gate:
    """
    A gate from a function of the text of an answer; async ones serve `aroute` and `astream`.

    Args:
        function: Returns whether the answer will do, or raises AnswerRejected with the reason. Whatever else it raises
            or returns is a mistake in it, and a `VerifierFailed`.
        name: What messages call it; its own name where left out.

    """
    return FunctionGate(function, str(name or getattr(function, "__name__", type(function).__name__)))


def gates_of(given: Any, step: str) -> tuple[Gate, ...]:
    """The gates of a step, in their order: a gate, a function of the text, or a list of such."""
    if isinstance(given, list | tuple):
        several = cast("Sequence[Any]", given)
        gates = tuple(gate for each in several for gate in gates_of(each, step))
        if gates:
            return gates
    elif callable(getattr(given, "check", given)) and not isinstance(given, type):
        return (given,) if hasattr(given, "check") else (verified_by(given),)
    raise SettingsError(
        f"gates[{step!r}] is {given!r}; a gate, a function of the text of an answer, or a list of such was expected"
    )


def name_of(gate: object) -> str:
    """The gate as messages name it."""
    return str(getattr(gate, "name", type(gate).__name__))


def rule(wish: Verify) -> Ruling | Exception:
    """Ask a gate: its ruling, or the error that is to be raised in place of one."""
    try:
        said = wish.gate.check(wish.request, wish.response, context=wish.context)
        return _read(said)
    except Exception as error:  # noqa: BLE001 - told with the name of the verifier
        return _ruling_of(error, wish)


async def arule(wish: Verify, clocks: Clocks) -> Ruling | Exception:
    """Do the same in async code, where a check ends at the deadline of the request."""
    import anyio  # comes with httpx, which imports it for its first async call

    left = wish.context.until - clocks.now()
    with anyio.move_on_after(None if math.isinf(left) else left) as scope:
        try:
            said = await wish.gate.acheck(wish.request, wish.response, context=wish.context)
            return _read(said)
        except Exception as error:  # noqa: BLE001 - told with the name of the verifier
            return _ruling_of(error, wish)
    assert scope.cancelled_caught  # noqa: S101 - else it returned, for the type checker
    return Ruling(accepted=False, reason=f"{name_of(wish.gate)} did not end before the deadline")


def _read(said: Any) -> Ruling:
    if isinstance(said, Ruling):
        return said
    if not isinstance(said, bool):
        raise TypeError(f"it returned {said!r}; True or False was expected")
    return Ruling(accepted=said, reason="")


def _ruling_of(error: Exception, wish: Verify) -> Ruling | Exception:
    """A rejection is a ruling; anything else is a mistake in the verifier, which must not pass for one."""
    if isinstance(error, AnswerRejected):
        return Ruling(accepted=False, reason=str(error))
    if isinstance(error, SettingsError | MissingExtra):
        return error
    name, answer = name_of(wish.gate), wish.response
    failed = VerifierFailed(
        f"the verifier {name} failed over the answer of {answer.model}, {show(answer.text)} "
        f"({type(error).__name__}: {error}); to reject an answer, return False or raise AnswerRejected",
        verifier=name,
    )
    failed.__cause__ = error
    return failed
