"""The laws of cascades and hedges: what they find, and what they let pass."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from pytest_modelroute.invariants import Cascade, Good, RoutingInvariants, Script
from pytest_modelroute.invariants.checking import check_law
from pytest_modelroute.invariants.law import Violation
from pytest_modelroute.invariants.laws import _confidence
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.scenes import Act, Scene
from pytest_modelroute.invariants.seen import Played, SeenAct, SeenAsk
from tests.invariants import cascade_router as correct
from tests.invariants.correct_styles import CorrectThreads
from tests.invariants.defects import cascades
from tests.invariants.trials import asked, call, failing, judged, law, played

FOUND = {
    ("escalation", cascades.NeverEscalates): "it went gpt-5-nano",
    ("escalation", cascades.AlwaysEscalates): "it went gpt-5-nano -> gpt-5-mini -> gpt-5",
    ("escalation", cascades.SkipsATier): "it went gpt-5-nano -> gpt-5",
    ("escalation", cascades.AsksTwice): "it went gpt-5-nano -> gpt-5-nano",
    ("escalation", cascades.ReturnsTheFirst): "the answer of gpt-5-nano came back, which was rejected",
    ("escalation", cascades.ReturnsTheFirstOfJudged): "the answer of gpt-5-nano came back, which was rejected",
    ("escalation", cascades.FailsWithTheFirst): "it went gpt-5-nano",
    ("escalation", cascades.IgnoresItsJudge): "it went gpt-5-nano",
    ("confidence_parsing", cascades.TakesAnyNumber): "it went gpt-5-nano, and the answer was accepted",
    ("confidence_parsing", cascades.Crashes): "ask raised",
    ("confidence_parsing", cascades.Clamps): "it went gpt-5-nano, and the answer was accepted",
    ("confidence_parsing", cascades.TakesNan): "it went gpt-5-nano, and the answer was accepted",
    ("speculation", cascades.Hasty): "was asked ",
    ("speculation", cascades.NeverHedges): "only gpt-5-nano was asked",
    ("speculation", cascades.WaitsForAll): "an answer after",
    ("speculation", cascades.WaitsForAllAtOnce): "an answer after",
    ("speculation", cascades.LeavesLosers): "it went on to",
    ("speculation", cascades.FreeLosers): "USD were booked",
    ("speculation", cascades.OneSinksAll): "ask raised NoAnswer",
    ("speculation", cascades.OneSinksAllAtOnce): "ask raised NoAnswer",
    ("speculation", cascades.Apologises): "ask returned 'Sorry, try again later.'",
}
TIERS = ("small", "medium", "large")
LAWS = ("escalation", "confidence_parsing", "speculation", "no_aliasing")


@pytest.mark.parametrize(("law_id", "kind"), FOUND, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # some defects leave tasks behind
def test_the_law_kills_its_defect(law_id: str, kind: type[RoutingInvariants]) -> None:
    """Each defect breaks the law that it is about, and the violation says how."""
    finding = check_law(kind, law_id)
    assert finding.violation is not None
    assert FOUND[law_id, kind] in finding.violation.seen


def test_every_defect_is_tried() -> None:
    """None of the defects is forgotten here; that of a switch is tried beside the other switches."""
    pairs = {(law_id, kind) for law_id, kinds in cascades.DEFECTS.items() for kind in kinds if law_id != "opt_outs"}
    assert pairs == set(FOUND)


@pytest.mark.parametrize("law_id", LAWS)
@pytest.mark.parametrize(
    "kind",
    [
        correct.CorrectCascade,
        correct.CorrectConfidence,
        correct.CorrectJudged,
        correct.CorrectHedging,
        correct.CorrectAtOnce,
        CorrectThreads,
    ],
)
def test_it_holds_on_correct_routers(kind: type[RoutingInvariants], law_id: str) -> None:
    """Gates of three kinds, and hedges in tasks and in threads."""
    if getattr(kind, f"test_{law_id}") is not None:
        assert check_law(kind, law_id, profile="quick").status == "held"


# ---------------------------------------------------------------- escalation


def cascade(script: Script, ask: SeenAsk, **promised: object) -> Violation | None:
    """What is said to a request of a cascade that was played by a script."""
    promises = Promises(tiers=TIERS, **{"cascade": Cascade(accepts="yes!", rejects="no!"), **promised})  # type: ignore[arg-type]
    scene = Scene(acts=(Act(asks=(ask.ask,), script=script),))
    return judged("escalation", promises, Played(scene=scene, acts=(SeenAct(asks=(ask,)),)))


NO, YES, DOWN = (Good(text="no!"),), (Good(text="yes!"),), (failing(),)


def test_a_cascade_may_begin_above_its_first_tier() -> None:
    """A router that takes a request for a hard one begins where it likes."""
    script = Script(models={"small": YES, "medium": NO, "large": YES})
    assert cascade(script, asked(call("medium", text="no!"), call("large", text="yes!"), text="yes!")) is None


def test_the_strongest_tiers_answer_comes_back_though_it_was_rejected() -> None:
    """There is nobody left to ask."""
    script = Script(models=dict.fromkeys(TIERS, NO))
    calls = [call(tier, text=f"no! ({tier})") for tier in TIERS]
    assert cascade(script, asked(*calls, text="no! (large)")) is None
    found = cascade(script, asked(*calls, text="no! (small)"))
    assert found is not None
    assert found.seen.startswith("the answer of small came back, which was rejected")


def test_what_comes_back_when_the_strongest_tier_fails_is_its_own_matter() -> None:
    """The best of the rejected answers, or an error."""
    script = Script(models={"small": NO, "medium": NO, "large": DOWN})
    calls = (
        call("small", text="no! 1"),
        call("medium", text="no! 2"),
        call("large", error="server_error", completed=False),
    )
    assert cascade(script, asked(*calls, text="no! 1")) is None
    assert cascade(script, asked(*calls, outcome="raised", error=OSError())) is None


def test_a_judge_that_said_both_decides_nothing() -> None:
    """Three votes, of which one differs: which way they count is the router's own matter."""
    script = Script(models={**dict.fromkeys(TIERS, YES), "judge": NO})
    votes = [call("judge", role="judge", text=text) for text in ("yes", "no", "yes")]
    gate = Cascade(judge="judge")
    assert cascade(script, asked(call("small", text="a"), *votes), cascade=gate) is None
    found = cascade(script, asked(call("small", text="a"), votes[1]), cascade=gate)
    assert found is not None
    assert found.expected == "small -> medium: the answer of small was rejected"


def test_short_of_time_or_money_nothing_is_said() -> None:
    """A deadline that is near ends a cascade early."""
    script = Script(models=dict.fromkeys(TIERS, NO))
    early = asked(call("small", text="no!"), ended=0.9, text="no!")
    assert cascade(script, early, deadline=1.0) is None
    assert cascade(script, early, deadline=10.0) is not None


# ---------------------------------------------------------------- confidence


@pytest.mark.parametrize("template", ["{text}\nConfidence: {confidence}", "{text} [{confidence:.0%}]"])
def test_odd_confidences_fit_any_form(template: str) -> None:
    """Words stand where numbers are expected, whatever the format of the number."""
    answers = _confidence._answers(Cascade(confidence=template))
    assert any("high" in text for _, text in answers)
    assert any("nan" in text for _, text in answers)
    assert ("cannot be read", "The order was shipped.") in answers or "\n" not in template


def test_an_answer_in_json_stays_json_but_for_its_confidence() -> None:
    """The braces of the form are not taken for places to fill in."""
    answers = _confidence._answers(Cascade(confidence='{{"answer": "{text}", "confidence": {confidence}}}'))
    assert ("is low", '{"answer": "The order was shipped.", "confidence": 0.21}') in answers


def test_a_high_confidence_in_an_odd_form_may_be_read_or_not() -> None:
    """Both are fine; only a crash is not."""
    sure = Promises(tiers=TIERS, cascade=Cascade(confidence="{text} {confidence}"))
    for calls in ([call("small")], [call("small"), call("medium")]):
        assert judged("confidence_parsing", sure, played(asked(*calls), name="may be read")) is None
    crashed = asked(call("small"), outcome="raised", error=ValueError("high"))
    assert judged("confidence_parsing", sure, played(crashed, name="may be read")) is not None


# --------------------------------------------------------------- speculation

HEDGED = Promises(tiers=TIERS, hedge_after=0.5)


def slow(*calls: object, **seen: object) -> Violation | None:
    """What is said to a request whose first model is slow."""
    return judged("speculation", HEDGED, played(asked(*calls, **seen), name="the first is slow"))  # type: ignore[arg-type]


def test_the_moment_of_a_hedge_may_count_from_the_request_or_from_its_first_call() -> None:
    """A classification comes first, and the clock may have started before or after it."""
    first = call("small", 0.1, 0.9, behaviour=Good(latency=0.8))
    lost: dict[str, Any] = {"error": "cancelled", "completed": False, "behaviour": Good(latency=9.0)}
    for moment in (0.5, 0.6):
        assert slow(first, call("medium", moment, 0.9, **lost), ended=0.9) is None
    assert slow(first, call("medium", 0.8, 0.9, **lost), ended=0.9) is not None


def test_a_call_that_the_client_ended_says_nothing_about_hedges() -> None:
    """A time-out shorter than the script's latency."""
    assert slow(call("small", 0.0, 0.4, error="timeout", completed=False), call("medium", 0.4, 0.6), ended=0.6) is None


def test_the_largest_model_has_nobody_beside_it() -> None:
    """Where no fallback and no larger tier is there, no hedge is expected."""
    assert slow(call("large", 0.0, 2.0, behaviour=Good(latency=2.0)), ended=2.0) is None
    found = slow(call("small", 0.0, 2.0, behaviour=Good(latency=2.0)), ended=2.0)
    assert found is not None
    assert found.seen == "only small was asked"


def test_a_hedge_whose_clock_began_before_a_classification_is_not_needless() -> None:
    """The first model was fast, and yet the moment had come; sooner than that it had not."""

    def fast(second: float) -> Violation | None:
        ask = asked(call("small", 0.1, 0.55), call("medium", second, 0.55, error="cancelled"), ended=0.55)
        return judged("speculation", HEDGED, played(ask, name="the first is fast"))

    assert fast(0.5) is None
    assert fast(0.3) is not None


def test_threads_are_not_judged_by_the_clock() -> None:
    """They cannot be cancelled, and run when the machine lets them."""
    late = asked(call("small", 0.0, 5.0, behaviour=Good(latency=5.0)), ended=5.0)
    assert judged("speculation", HEDGED, played(late, name="the first is slow, in threads")) is None


def test_a_router_with_one_candidate_cannot_hedge_away_a_failure() -> None:
    """Where nobody else is asked, the failure of the only one is the answer."""
    alone = played(asked(call("small")), name="the first is slow")
    failed = played(
        asked(call("small", behaviour=failing()), outcome="raised", error=OSError()),
        name="one fails",
    )
    assert judged("speculation", HEDGED, alone, failed) is None


def test_a_loser_is_booked_with_something() -> None:
    """How much of its output was made by then nobody knows exactly."""
    winner = call("medium", 0.5, 0.8, cost=Decimal("0.02"), behaviour=Good(latency=0.3))
    loser = call(
        "small", 0.0, 0.8, cost=Decimal("0.01"), error="cancelled", completed=False, behaviour=Good(latency=9.0)
    )
    ask = asked(loser, winner, ended=0.8)

    def booked(usd: str) -> Violation | None:
        scene = Scene(acts=(Act(asks=(ask.ask,)),), name="the first is slow")
        seen = Played(scene=scene, acts=(SeenAct(asks=(ask,), spent=Decimal(usd)),), spent_before=Decimal(0))
        return judged("speculation", HEDGED, seen)

    assert booked("0.021") is None
    assert booked("0.02") is not None


def test_a_hedge_that_no_deadline_leaves_time_for_is_not_exercised() -> None:
    """The scenes would run into it."""
    short = Promises(tiers=TIERS, hedge_after=0.5, deadline=1.0)
    from pytest_modelroute.invariants.atlas import Atlas

    assert law("speculation").scenes(short, Atlas(is_async=True)).is_empty
