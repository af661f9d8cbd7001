"""The scripted providers of a scene: who is asked as what, and what each one answers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest

from pytest_modelroute import faults as stock
from pytest_modelroute.invariants import Act, Ask, Cascade, Classifier, Fails, Good, RoutingRequest, Script
from pytest_modelroute.invariants.harness import RoutingInvariants
from pytest_modelroute.invariants.player import NoSuchForm, Signatures, behaviours, known_price
from pytest_modelroute.invariants.seen import SeenAsk
from pytest_modelroute.providers.prices import PriceBook
from tests.invariants.test_stage import play

faults: Any = stock
SMALL, LARGE = "gpt-5-nano", "gpt-5"
SYSTEM = {"role": "system", "content": "Answer LOW or HIGH."}


class Chain(RoutingInvariants):
    """Asks the models that the prompt names, one after another, whatever comes of each."""

    tiers = (SMALL, LARGE)
    helpers = ("gpt-4.1",)
    provider = "openai"

    def make_router(self, providers: Any) -> Any:
        """An address."""
        return providers.url("openai")

    def ask(self, router: Any, request: Any) -> Any:
        """Ask it; a model with a mark is asked to classify."""
        for name in request.prompt.split():
            model, _, mark = name.partition("?")
            system = [SYSTEM] if "?" in name else []
            body = {"model": model, "messages": [*system, {"role": "user", "content": mark or "hi"}]}
            httpx.post(f"{router}/chat/completions", json=body, timeout=50)
        return "done"


class Classified(Chain):
    """The small model classifies too."""

    classifier = Classifier(SMALL, labels={"LOW": SMALL, "HIGH": LARGE})


def seen(prompt: str, script: Script | None = None, kind: type[Chain] = Chain, **ask: Any) -> SeenAsk:
    """What came of asking these models."""
    return play(kind, Act(asks=(Ask(request=RoutingRequest(prompt=prompt), **ask),), script=script or Script())).only


def statuses(ask: SeenAsk) -> list[int | None]:
    """Of each call."""
    return [call.status for call in ask.calls]


def test_rows_are_for_the_candidates_in_the_order_of_their_entering() -> None:
    """The last entry of a row is for all that follow."""
    script = Script(candidates=((Fails(faults.rate_limit()), Fails(faults.server_error())), (Good(),)))
    assert statuses(seen(f"{LARGE} {SMALL} {LARGE} {LARGE}", script)) == [429, 200, 500, 500]


def test_a_row_of_a_model_goes_before() -> None:
    """Whenever it is asked."""
    script = Script(candidates=((Fails(faults.rate_limit()),),), models={SMALL: (Fails(faults.unavailable()),)})
    assert statuses(seen(f"{SMALL} {LARGE}", script)) == [503, 200]


def test_a_helper_is_no_candidate() -> None:
    """It takes no row of theirs."""
    ask = seen(f"gpt-4.1 {LARGE}", Script(candidates=((Fails(faults.rate_limit()),),)))
    assert [(call.role, call.status) for call in ask.calls] == [("helper", 200), ("answer", 429)]


def test_the_first_call_of_the_classifiers_model_is_a_classification() -> None:
    """And what follows is an answer of it."""
    ask = seen(f"{SMALL}?x {SMALL}", kind=Classified, label="HIGH")
    assert [(call.role, call.text == "HIGH") for call in ask.calls] == [("classifier", True), ("answer", False)]


def test_a_classification_that_is_asked_again_is_one_too() -> None:
    """With the same words."""
    ask = seen(f"{SMALL}?x {SMALL}?x {LARGE}", kind=Classified)
    assert [call.role for call in ask.calls] == ["classifier", "classifier", "answer"]


def test_a_classifier_may_fail() -> None:
    """As the script has it."""
    ask = seen(f"{SMALL}?x {LARGE}", Script(label=Fails(faults.server_error())), kind=Classified)
    assert statuses(ask) == [500, 200]


def test_a_judge_accepts_where_nothing_else_is_said() -> None:
    """With the words of the promise."""

    class Judged(Chain):
        cascade = Cascade(judge="gpt-4.1", judge_accepts="fine")

    ask = seen(f"{SMALL} gpt-4.1", kind=Judged)
    assert [(call.role, call.text) for call in ask.calls][1] == ("judge", "fine")


def test_a_call_costs_what_it_is_to_spend() -> None:
    """As exactly as whole tokens allow, and never more."""
    (call,) = seen(LARGE, Script(good=Good(spends=Decimal("0.79")))).calls
    assert call.cost is not None
    assert Decimal("0.7899") < call.cost <= Decimal("0.79")


def test_a_fault_without_a_form_at_the_provider_says_nothing() -> None:
    """The example is left out."""

    class Local(Chain):
        def make_router(self, providers: Any) -> Any:
            return providers.url("ollama")

        def ask(self, router: Any, request: Any) -> Any:
            body = {"model": SMALL, "messages": [{"role": "user", "content": "hi"}], "stream": False}
            return httpx.post(f"{router}/api/chat", json=body, timeout=5)

    with pytest.raises(NoSuchForm):
        seen(SMALL, Script(candidates=((Fails(faults.content_filter()),),)), kind=Local)


def test_looks_tell_a_classification_only_where_they_differ() -> None:
    """What looks like both tells nothing."""
    (call,) = seen(SMALL).calls
    looks: Any = ("", ())
    assert Signatures(frozenset([looks]), frozenset()).is_classification(call) is True  # type: ignore[arg-type]
    assert Signatures(frozenset(), frozenset([looks])).is_classification(call) is False  # type: ignore[arg-type]
    assert Signatures(frozenset([looks]), frozenset([looks])).is_classification(call) is None  # type: ignore[arg-type]


def test_a_price_is_known_or_not() -> None:
    """By the table."""
    assert (known_price(PriceBook(), SMALL), known_price(PriceBook(), "no-such-model")) == (True, False)


def test_the_rows_of_a_script_have_names() -> None:
    """Those of the report."""
    script = Script(candidates=((Good(),),), models={SMALL: (Good(),)})
    assert [*behaviours(script)] == ["the first candidate", SMALL]


def test_an_empty_scene_has_no_requests() -> None:
    """And is played all the same."""
    assert play(Chain).acts == ()
