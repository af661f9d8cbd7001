"""
Routines: the router's logic without its I/O, so that sync, async and streamed requests are one piece of it.

A routine is a generator. It yields what it wants done, is sent what came of it, and returns the answer; `streaming.py`
does what it wants.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    import httpx

    from pytest_modelroute.router.calls import RequestContext
    from pytest_modelroute.router.classifier import Classifier
    from pytest_modelroute.router.gates import Gate
    from pytest_modelroute.router.requests import ModelRequest, ModelResponse
    from pytest_modelroute.router.streaming import AsyncStreamedResponse


@dataclass(slots=True)
class Send:
    """Send a request; sent back is the response, or the RequestError of the transport."""

    request: httpx.Request
    in_pieces: bool
    "Whether a good body is left to be read by Read."


@dataclass(slots=True)
class Read:
    """Read on in the body of the response; sent back are bytes, None at its end, or the RequestError."""

    within: float = math.inf
    "Seconds, which async code keeps; a blocking read is bound by the client's time-out for it alone."


@dataclass(slots=True)
class Classify:
    """Ask a classifier; sent back is the tier."""

    classifier: Classifier
    prompt: str
    context: RequestContext


@dataclass(slots=True)
class Verify:
    """Ask a gate whether an answer will do; sent back is what `gates.rule` returns."""

    gate: Gate
    request: ModelRequest
    response: ModelResponse
    context: RequestContext


@dataclass(slots=True)
class Race:
    """Play other routines at the same time; sent back is True after it, and False from sync code, which cannot."""

    run: Callable[[AsyncStreamedResponse], Awaitable[None]]
    "Given who plays this routine."


Wish: TypeAlias = Send | Read | Classify | Verify | Race | float | str
"What a routine wants done; a number is seconds to wait, a string is a piece of text for the caller."

_T = TypeVar("_T")
Routine: TypeAlias = Generator[Wish, Any, _T]
