"""The law of streams: what it finds, and what it lets pass."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_modelroute.invariants import RoutingInvariants
from pytest_modelroute.invariants.checking import check_law
from pytest_modelroute.invariants.law import Violation
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.seen import SeenAsk
from pytest_modelroute.providers.exchange import Message
from tests.invariants.correct import Correct
from tests.invariants.correct_styles import CorrectWithholding
from tests.invariants.defects import streaming
from tests.invariants.trials import asked, call, failing, judged, played

FOUND: dict[type[RoutingInvariants], str] = {
    streaming.NoStreamedFallback: "streamed, it went",
    streaming.FallsBackMidway: "the beginning was delivered again: 'alpha",
    streaming.HalfIsEnough: "was presented as the answer, and ended without an error",
    streaming.SkipsBrokenEvents: "was presented as the answer, and ended without an error",
    streaming.GoesOnWhenClosed: "was asked next",
}
TWO = Promises(tiers=("small", "large"), fallbacks={"small": ("large",)}, streams=True)
WHOLE = "alpha beta gamma"


@pytest.mark.parametrize("kind", FOUND, ids=lambda kind: kind.__name__)
def test_the_law_kills_its_defect(kind: type[RoutingInvariants]) -> None:
    """Each defect of streams breaks the law about them, and the violation says how."""
    assert kind in streaming.DEFECTS["stream_parity"]
    finding = check_law(kind, "stream_parity")
    assert finding.violation is not None
    assert FOUND[kind] in finding.violation.seen


@pytest.mark.parametrize("kind", [Correct, CorrectWithholding])
def test_it_holds_where_streams_are_handled_well(kind: type[RoutingInvariants]) -> None:
    """Falling back before the first byte alone is fine, and so is withholding a stream until it is whole."""
    assert check_law(kind, "stream_parity", profile="quick").status == "held"


def broken(*calls: Any, text: str, sound: SeenAsk | None = None, **seen: Any) -> Violation | None:
    """What is said to a stream that broke off, beside a sound one."""
    good = sound or asked(call("small"), text=WHOLE, chunks=("alpha ", "beta ", "gamma"))
    return judged(
        "stream_parity",
        TWO,
        played(good, name="a sound stream"),
        played(asked(*calls, text=text, **seen), name="broken off"),
    )


CUT = failing("stream_cut")


def test_an_error_after_some_text_is_fine() -> None:
    """Half a text, and then an error: the caller knows."""
    assert broken(call("small", behaviour=CUT, streamed=True), text="alpha ", outcome="raised", error=OSError()) is None


def test_half_a_text_without_an_error_is_not() -> None:
    """Half a text that is presented as the answer."""
    found = broken(call("small", behaviour=CUT, streamed=True), text="alpha ")
    assert found is not None
    assert found.seen == "'alpha' was presented as the answer, and ended without an error"


def test_half_a_text_that_says_so_is_fine() -> None:
    """What is delivered says itself that it is not whole."""
    assert broken(call("small", behaviour=CUT, streamed=True), text="alpha [interrupted]") is None


def test_an_answer_that_was_not_streamed_is_another_matter() -> None:
    """A router that answers at once has read no stream."""
    assert broken(call("small", behaviour=CUT), text="") is None


def test_going_on_from_what_was_delivered_is_no_repetition() -> None:
    """The next model was shown the text so far; that ours begins anew is our script's doing."""
    shown = (Message(role="assistant", text="alpha"),)
    calls = call("small", behaviour=CUT, streamed=True), call("large", streamed=True, messages=shown)
    assert broken(*calls, text="alpha alpha beta gamma") is None
    assert broken(calls[0], call("large", streamed=True), text="alpha alpha beta gamma") is not None


def test_pieces_that_hold_all_text_so_far_are_no_repetition() -> None:
    """Some clients hand out the whole text each time, longer and longer."""
    pieces = ("alpha", "alpha beta", "alpha beta gamma")
    sound = asked(call("small"), text="".join(pieces), chunks=pieces)
    calls = call("small", behaviour=CUT, streamed=True), call("large", streamed=True)
    assert broken(*calls, text="alpha" + "".join(pieces), sound=sound) is None


def test_a_stream_that_raises_on_an_empty_answer_is_let_pass() -> None:
    """Of an empty answer only the models count: clients differ in what they make of it."""
    whole = played(asked(call("small")), name="not streamed")
    raised = asked(call("small", streamed=True), outcome="raised", error=ValueError())
    assert judged("stream_parity", TWO, whole, played(raised, name="streamed")) is None
    other = asked(call("small", streamed=True), call("large", streamed=True))
    assert judged("stream_parity", TWO, whole, played(other, name="streamed")) is not None


def test_near_the_deadline_nothing_is_said() -> None:
    """Whoever has no time left asks nobody else, streamed or not."""
    slow = Promises(tiers=TWO.tiers, fallbacks=TWO.fallbacks, streams=True, deadline=1.0)
    fails = failing()
    whole = played(asked(call("small", behaviour=fails), call("large")), name="not streamed")
    streamed = played(
        asked(call("small", behaviour=fails), outcome="raised", request=RoutingRequest(stream=True)), name="streamed"
    )
    assert judged("stream_parity", slow, whole, streamed) is None
    assert judged("stream_parity", TWO, whole, streamed) is not None
