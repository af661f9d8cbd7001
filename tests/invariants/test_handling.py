"""The laws of handling: what they find, and what they let pass."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from pytest_modelroute.invariants import Act, Ask, Cascade, RoutingInvariants, RoutingRequest, Scene
from pytest_modelroute.invariants.checking import check_law, check_scenes
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.wire.addresses import fake_key
from tests.invariants.correct import Correct
from tests.invariants.correct_openai_sync import CorrectTwoProviders, Least
from tests.invariants.correct_styles import CorrectBalanced
from tests.invariants.defects import cascades, handling
from tests.invariants.trials import asked, call, failing, judged, law, played

FOUND = {
    ("parameters_preserved", handling.OwnSettingsDropped): "it was sent no temperature",
    ("parameters_preserved", handling.OneBodyForAll): "temperature = 0.3, which is gpt-4.1's own",
    ("parameters_preserved", handling.CallersForgotten): "it was sent max_tokens = 256",
    ("parameters_preserved", handling.KeyOfTheHead): "the key of openai was sent to openai-2",
    ("parameters_preserved", handling.Internals): "was sent 'num_retries', which is the router's own",
    ("no_aliasing", handling.Popped): "an hour later",
    ("no_aliasing", handling.NeverBack): "an hour later",
    ("no_aliasing", handling.RestsForAll): "on a new router, since another one had failed before",
    ("no_aliasing", handling.WritesIntoMessages): "afterwards they were [{'role': 'system'",
    ("no_aliasing", handling.WritesIntoSettings): "the router changed it",
    ("opt_outs", handling.AlwaysFallsBack): "it went gpt-5",
    ("opt_outs", handling.FallsBackInStreams): "it went gpt-5",
    ("opt_outs", handling.RetriesAnyway): "was called 2 times",
    ("opt_outs", handling.OwnDeadline): "it was answered after",
    ("opt_outs", cascades.HedgesAnyway): "was still at work",
    ("offline_construction", handling.AsksWhenBuilt): "make_router asked openai for gpt-4o",
    ("offline_construction", handling.Downloads): "make_router tried to connect",
    ("offline_construction", handling.NeedsAllKeys): "make_router raised KeyError: 'GROQ_API_KEY'",
}
TWO = Promises(tiers=("small", "large"), parameters={"large": {"temperature": 0.3}})


@pytest.mark.parametrize(("law_id", "kind"), FOUND, ids=lambda value: getattr(value, "__name__", value))
def test_the_law_kills_its_defect(law_id: str, kind: type[RoutingInvariants]) -> None:
    """Each defect breaks the law that it is about, and the violation says how."""
    finding = check_law(kind, law_id)
    assert finding.violation is not None
    assert FOUND[law_id, kind] in finding.violation.seen


def test_every_defect_is_tried() -> None:
    """None of the defects is forgotten here."""
    pairs = {(law_id, kind) for law_id, kinds in handling.DEFECTS.items() for kind in kinds}
    assert pairs <= set(FOUND)


@pytest.mark.parametrize("law_id", ["parameters_preserved", "no_aliasing", "opt_outs", "offline_construction"])
@pytest.mark.parametrize("kind", [Correct, CorrectTwoProviders, CorrectBalanced])
def test_it_holds_on_correct_routers(kind: type[RoutingInvariants], law_id: str) -> None:
    """In several styles."""
    if getattr(kind, f"test_{law_id}") is not None:
        assert check_law(kind, law_id, profile="quick").status == "held"


# ---------------------------------------------------------------- parameters


def test_a_value_that_all_models_get_leaks_from_nobody() -> None:
    """A setting of the whole router is that of one candidate too by chance."""
    warm = {"temperature": 0.3}
    ask = asked(call("small", params=warm), call("large", params=warm), call("other", params=warm))
    assert judged("parameters_preserved", TWO, played(ask)) is None
    leak = asked(call("small"), call("large", params=warm), call("other", params=warm))
    found = judged("parameters_preserved", TWO, played(leak))
    assert found is not None
    assert found.seen == "it was sent temperature = 0.3, which is large's own"


def test_the_callers_wish_may_go_before_a_candidates_own() -> None:
    """Which of the two wins is the router's choice."""
    request = RoutingRequest(params={"temperature": 0.9})
    for sent in (0.9, 0.3):
        ask = asked(call("large", params={"temperature": sent}), request=request)
        assert judged("parameters_preserved", TWO, played(ask)) is None
    assert judged("parameters_preserved", TWO, played(asked(call("large", params={"temperature": 1}), request=request)))


def test_a_model_that_takes_no_temperature_need_not_be_sent_one() -> None:
    """The reasoning models of OpenAI refuse it."""
    request = RoutingRequest(params={"temperature": 0.9})
    sent = call("small", params={"temperature": 0.9})
    assert judged("parameters_preserved", TWO, played(asked(sent, call("gpt-5"), request=request))) is None
    assert judged("parameters_preserved", TWO, played(asked(sent, call("gpt-4o"), request=request))) is not None


def test_max_tokens_may_have_its_newer_name() -> None:
    """Newer models of OpenAI take max_completion_tokens."""
    request = RoutingRequest(params={"max_tokens": 64})
    calls = call("small", params={"max_tokens": 64}), call("gpt-5", params={"max_completion_tokens": 64})
    assert judged("parameters_preserved", TWO, played(asked(*calls, request=request))) is None


def test_hosts_of_one_provider_may_share_a_key() -> None:
    """Unless each of them was given its own."""
    shared = call("small", provider="openai-2", key=fake_key("openai"))
    assert judged("parameters_preserved", TWO, played(asked(shared))) is None
    assert judged("parameters_preserved", TWO, played(asked(shared), keyed=frozenset({"openai-2"}))) is not None


def test_a_key_is_sent_to_no_other_provider() -> None:
    """Whoever asked for which key."""
    leaked = call("small", provider="anthropic", key=fake_key("openai"))
    assert judged("parameters_preserved", TWO, played(asked(leaked))) is not None


# --------------------------------------------------------------- no aliasing


def test_an_answer_from_a_cache_is_no_other_route() -> None:
    """The second time nobody is asked."""
    assert judged("no_aliasing", TWO, played(asked(call("small")), asked(), name="the same again")) is None


def test_a_balanced_router_may_take_another_route_each_time() -> None:
    """What it changes of the caller's is judged all the same."""
    spread = Promises(tiers=("small", "large"), load_balanced={"small": 1, "large": 1})
    again = played(asked(call("small")), asked(call("large")), name="the same again")
    assert judged("no_aliasing", spread, again) is None
    assert judged("no_aliasing", TWO, again) is not None
    spoilt = played(asked(call("small"), request_after={"params": {"top_p": 1}}), name="the same again")
    assert judged("no_aliasing", spread, spoilt) is not None


def test_hedged_requests_are_compared_without_their_order() -> None:
    """Who is asked first of two that are asked at once says nothing."""
    hedged = Promises(tiers=("small", "large"), hedge_after=0.0)
    first, second = asked(call("small"), call("large")), asked(call("large"), call("small"))
    assert judged("no_aliasing", hedged, played(first, second, name="the same again")) is None


class Recorded(RoutingInvariants):
    """Its routers are numbered."""

    tiers = ("gpt-4o-mini", "gpt-4o")
    routers: Any = None

    def make_router(self, providers: Any) -> Least:
        """One more."""
        router = Least()
        type(self).routers = [*(self.routers or []), router]
        return router

    def ask(self, router: Least, request: Any) -> Any:
        """The newest one asks the small model, as the survey does."""
        model = "gpt-4o-mini" if router is self.routers[-1] else "gpt-4o"
        return router.client.chat.completions.create(model=model, messages=request.messages)


def test_a_scene_can_ask_a_second_router() -> None:
    """It is built when it is first asked, and is another one."""
    ask = Ask(request=RoutingRequest(prompt="hi"))
    second = Ask(request=RoutingRequest(prompt="hi"), router=1)
    before = Recorded.routers or []
    assert check_scenes(Recorded, "no_aliasing", [Scene(acts=(Act(asks=(ask,)), Act(asks=(second,))))]) is None
    assert len(Recorded.routers) - len(before) >= 2


# ------------------------------------------------------------------ opt-outs


def test_no_switch_that_can_be_judged_binds_nothing() -> None:
    """Names of other options are handed on, and nothing more."""
    assert not law("opt_outs").binds(Promises(tiers=("small",), options=("category",)))
    assert not law("opt_outs").binds(Promises(tiers=("small",), options=("no_fallbacks",)))
    assert law("opt_outs").binds(Promises(tiers=("small",), options=("retries",)))


def test_retries_of_a_cascade_are_no_matter_of_the_switch() -> None:
    """Its next tier is nobody's retry, and so the law says nothing about it."""
    gated = Promises(tiers=("small", "large"), options=("retries",), cascade=Cascade())
    assert not law("opt_outs").binds(gated)


def test_a_stream_that_breaks_off_is_left_to_the_law_of_streams() -> None:
    """Whether its end was an error or not: no fallback was asked, which is all that the switch says."""
    cut = call("small", behaviour=failing("stream_cut"))
    assert judged("opt_outs", TWO, played(asked(cut, text="This"), name="no_fallbacks")) is None
    refused = call("small", behaviour=failing())
    assert judged("opt_outs", TWO, played(asked(refused, text="Sorry"), name="no_fallbacks")) is not None


def test_a_cascade_that_is_switched_off_stays_where_it_is() -> None:
    """One tier, whatever the gate says."""
    assert judged("opt_outs", TWO, played(asked(call("small")), name="cascade")) is None
    found = judged("opt_outs", TWO, played(asked(call("small"), call("large")), name="cascade"))
    assert found is not None
    assert found.seen == "it went small -> large"


# -------------------------------------------------------------- construction


class Shared(RoutingInvariants):
    """A client of OpenAI with OpenAI's key, pointed at another host."""

    tiers = ("llama-3",)

    def make_router(self, providers: Any) -> Any:
        """With the key of the environment."""
        return openai.OpenAI(base_url=providers.url("house"))

    def ask(self, router: Any, request: Any) -> Any:
        """Its one model."""
        return router.chat.completions.create(model="llama-3", messages=request.messages)


def test_a_key_that_is_used_for_another_host_is_needed() -> None:
    """The client would not be built without it, and its calls were seen to carry it."""
    assert check_law(Shared, "offline_construction").status == "held"
