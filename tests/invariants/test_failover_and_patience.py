"""The laws of failover and patience find what is wrong, say it in words, and leave correct routers alone."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

from pytest_modelroute import faults
from pytest_modelroute.invariants.binding import promises_of
from pytest_modelroute.invariants.checking import check_law, check_scenes
from pytest_modelroute.invariants.law import Violation, all_laws
from pytest_modelroute.invariants.laws._chains import names_failure
from pytest_modelroute.invariants.pasting import code_of
from pytest_modelroute.invariants.promises import BudgetPromise, Cascade, Promises
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.scenes import Act, Ask, Behaviour, Fails, Good, Scene, Script
from pytest_modelroute.invariants.seen import Played, SeenAct, SeenAsk, SeenCall
from pytest_modelroute.invariants.telling import tell
from pytest_modelroute.providers.exchange import ToolCall
from tests.invariants import correct_clients
from tests.invariants.correct import Correct
from tests.invariants.defects import failover, patience

DEFECTS = [
    pytest.param(law, kind, id=f"{law}-{kind.__name__}")
    for table in (failover.DEFECTS, patience.DEFECTS)
    for law, kinds in table.items()
    for kind in kinds
]
LAWS = (*failover.DEFECTS, *patience.DEFECTS)
CHAIN = {"gpt-5": ("gpt-4.1", "gpt-4o")}
PLAIN = Promises(tiers=("gpt-5",), fallbacks=CHAIN, recoverable=frozenset({"unavailable", "rate_limited"}))
DOWN = Fails(faults.unavailable())


TOLD: list[tuple[str, type[Any], Sequence[str]]] = [
    (
        "fallback_on_class",
        failover.RefusedIsFinal,
        ["gpt-4.1-mini was never asked: ask raised CallFailed", "the first candidate: connect_error()"],
    ),
    ("no_fallback_on_caller_error", failover.KeyFallsBack, ["authentication of gpt-5-nano is the caller's own error"]),
    ("no_fallback_on_caller_error", failover.Apologises, ["ask returned 'Sorry, please try again later.'"]),
    ("chain_order", failover.Reversed, ["gpt-5 -> gpt-4o", "<- was not due"]),
    ("chain_order", failover.KeepsModel, ["gpt-5-nano was asked for at openai-2"]),
    ("no_spurious_fallback", failover.WordsFail, ["'error 500: the server is overloaded' of gpt-5-nano is returned"]),
    ("no_spurious_fallback", failover.CancelFails, ["no provider is asked after the caller gave up at 1 s"]),
    ("bounded_work", failover.OneMore, ["it was asked 3 times in one request", "<- one too many"]),
    ("bounded_work", failover.Loops, ["one request made more than 200 provider calls", "... and 177 more calls"]),
    ("bounded_work", failover.WaitsForEver, ["this one never ended: gpt-5-nano was asked"]),
    ("deadline", patience.SleepsOn, ["ask ends within 30 s", "rate_limit(retry_after="]),
    ("retry_after", patience.NoDates, ["is asked again 2 s after its last answer, or later", "(as a date)"]),
    ("cooldown", patience.RestsForEver, ["is asked first; it need not rest since 6", "asked in place of gpt-5"]),
    ("cooldown", patience.AllRest, ["at any time: it never failed"]),
]
UNTOLD = [each for each in DEFECTS if each.values not in {(law, kind) for law, kind, _ in TOLD}]
"Those that are looked for alone, and not made small: that takes as long again."


# ------------------------------------------------------------------ whole searches


@pytest.mark.parametrize(("law", "kind"), UNTOLD)
def test_a_law_kills_its_defects(law: str, kind: type[Any]) -> None:
    """Each router with one defect is caught by the law that it breaks."""
    assert check_law(kind, law, smallest=False).status == "violated"


@pytest.mark.parametrize("law", LAWS)
def test_no_law_fires_on_a_correct_router(law: str) -> None:
    """The router that keeps all promises keeps these."""
    assert check_law(Correct, law, profile="quick").status == "held"


@pytest.mark.parametrize("kind", correct_clients.CORRECT, ids=lambda kind: kind.__name__)
def test_no_law_fires_on_routers_in_other_styles(kind: type[Any]) -> None:
    """Routers on client libraries, with retries, rests and deadlines of their own."""
    laws = [law for law in LAWS if all_laws()[law].binds(promises_of(kind))]
    assert {law: check_law(kind, law, profile="quick").status for law in laws} == dict.fromkeys(laws, "held")


@pytest.mark.parametrize(("law", "kind", "words"), TOLD, ids=[f"{law}-{kind.__name__}" for law, kind, _ in TOLD])
def test_the_smallest_example_is_understood_at_once(law: str, kind: type[Any], words: Sequence[str]) -> None:
    """The report says what was expected and seen, and why a call counts."""
    report = tell(check_law(kind, law), name=kind.__name__)
    assert [word for word in words if word not in report] == [], report


# ----------------------------------------------------------------- hand-made trials


def call(number: int, model: str, at: float = 0.0, *, behaviour: Behaviour = DOWN, **seen: Any) -> SeenCall:
    """One call: good where its behaviour is, else with the fault's class."""
    fails = isinstance(behaviour, Fails)
    error = behaviour.fault.kind if isinstance(behaviour, Fails) else None
    fields = {"provider": "openai", "role": "answer", "ended": at + 0.1, "error": error, "completed": not fails}
    return SeenCall(**{**fields, "number": number, "model": model, "started": at, "behaviour": behaviour, **seen})


def played(*calls: SeenCall, script: Script | None = None, name: str = "unavailable", **seen: Any) -> Played:
    """One request."""
    ask = seen.pop("ask", Ask())
    ended = max((one.ended or 0.0 for one in calls), default=0.0)
    outcome = "answered" if seen.get("error") is None else "raised"
    done = SeenAsk(**{"ask": ask, "calls": calls, "ended": ended, "outcome": outcome, **seen})
    act = Act(asks=(ask,), script=script or Script(candidates=((DOWN,),)))
    return Played(scene=Scene(acts=(act,), name=name), acts=(SeenAct(asks=(done,)),))


def judge(law: str, promises: Promises, *trial: Played) -> Violation | None:
    """The verdict of a law."""
    return all_laws()[law].judge(promises, trial)


def test_a_fallback_that_was_not_asked_is_missed() -> None:
    """The first one failed with a recoverable class, and the request with it."""
    found = judge("fallback_on_class", PLAIN, played(call(1, "gpt-5"), error=ValueError("503")))
    assert found is not None
    assert found.seen == "gpt-4.1 was never asked: ask raised ValueError"


def test_a_fallback_whose_answer_was_thrown_away_is_told_apart() -> None:
    """It was asked, answered, and the request failed all the same."""
    calls = call(1, "gpt-5"), call(2, "gpt-4.1", 0.2, behaviour=Good())
    found = judge("fallback_on_class", PLAIN, played(*calls, error=ValueError("503")))
    assert found is not None
    assert found.counts == {1: "failed with a class that is recoverable", 2: "this answer was good"}


@pytest.mark.parametrize(
    ("promises", "calls", "error"),
    [
        (replace(PLAIN, deadline=4.0), [call(1, "gpt-5", 2.9)], ValueError()),
        (PLAIN, [call(1, "gpt-5", error="cancelled")], TimeoutError()),
        (replace(PLAIN, budget=BudgetPromise(10)), [call(1, "gpt-5")], ValueError("the budget is used up")),
        (replace(PLAIN, budget=BudgetPromise("0.01")), [call(1, "gpt-5")], ValueError()),
        (PLAIN, [call(1, "gpt-4o")], ValueError()),
    ],
    ids=["no time", "own clock", "said budget", "small budget", "no fallbacks"],
)
def test_a_fallback_is_not_demanded_where_a_router_may_give_up(
    promises: Promises, calls: Sequence[SeenCall], error: Exception
) -> None:
    """Time or money is gone, or the model that was chosen has no fallback."""
    assert judge("fallback_on_class", promises, played(*calls, error=error)) is None


class Refused(Exception):
    """What a client library raises."""

    def __init__(self, status_code: int) -> None:
        """Keep the status."""
        super().__init__("refused")
        self.status_code = status_code


def caused(*, hidden: bool) -> BaseException:
    """An error that another one led to."""
    error = ValueError("all failed")
    error.__context__ = Refused(503)
    error.__suppress_context__ = hidden
    return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("gpt-5 failed"),
        ValueError("HTTP 503"),
        Refused(503),
        caused(hidden=False),
        ExceptionGroup("all failed", [Refused(503), Refused(500)]),
        ValueError("all failed", {"gpt-5": "down"}),
    ],
    ids=["model", "status in words", "status", "context", "group", "table"],
)
def test_an_error_may_name_the_first_failure_in_many_ways(error: BaseException) -> None:
    """By its model, its status or its class, in whatever it holds."""
    assert names_failure(error, [call(1, "gpt-5", status=503)])


def test_an_error_that_hides_its_context_says_nothing() -> None:
    """`raise ... from None` hides what failed."""
    assert not names_failure(caused(hidden=True), [call(1, "gpt-5", status=503)])


def test_the_last_attempt_of_a_retry_library_is_looked_into() -> None:
    """Tenacity keeps it as a future."""
    attempt: Future[None] = Future()
    attempt.set_exception(Refused(503))
    assert names_failure(RuntimeError(attempt), [call(1, "gpt-5", status=503)])
    assert not names_failure(RuntimeError(Future[None]()), [call(1, "gpt-5", status=502)])


def test_the_last_error_may_be_let_through() -> None:
    """It hides nothing of itself; one that names no failure does."""
    calls = call(1, "gpt-5", status=503), call(2, "gpt-4.1", 1, status=500), call(3, "gpt-4o", 2, status=502)
    last, masked = (played(*calls, name="all fail", error=error) for error in (Refused(502), ValueError("sorry")))
    assert judge("no_fallback_on_caller_error", PLAIN, last) is None
    found = judge("no_fallback_on_caller_error", PLAIN, masked)
    assert found is not None
    assert found.seen == "the error says nothing of it: ValueError: sorry"


def test_who_says_not_what_is_recoverable_may_go_either_way_in_order() -> None:
    """No fallback at all is no disorder."""
    assert judge("chain_order", PLAIN, played(call(1, "gpt-5"), error=ValueError())) is None


def test_fallbacks_of_fallbacks_may_be_tried() -> None:
    """Before or after those of the head, or not."""
    promises = replace(PLAIN, fallbacks={**CHAIN, "gpt-4.1": ("gpt-4.1-mini",)})
    names = ["gpt-5", "gpt-4.1", "gpt-4.1-mini", "gpt-4o"]
    inner = played(*(call(number, name, number) for number, name in enumerate(names)))
    outer = played(*(call(number, name, number) for number, name in enumerate([*names[:2], names[3], names[2]])))
    assert [judge("chain_order", promises, trial) for trial in (inner, outer)] == [None, None]


def test_a_candidate_that_rests_may_be_left_out() -> None:
    """Where a cooldown is promised, and only there."""
    skipped = played(call(1, "gpt-5"), call(2, "gpt-4o", 1))
    assert judge("chain_order", replace(PLAIN, cooldown=5.0), skipped) is None
    assert judge("chain_order", PLAIN, skipped) is not None


def test_an_empty_answer_may_have_the_same_model_asked_again() -> None:
    """But not another one."""
    empty = Script(candidates=((Good(text=""),),))
    again = [call(1, "gpt-5", behaviour=Good(text="")), call(2, "gpt-5", 1, behaviour=Good(text=""))]
    other = [again[0], call(2, "gpt-4.1", 1, behaviour=Good())]
    assert judge("no_spurious_fallback", PLAIN, played(*again, script=empty)) is None
    assert judge("no_spurious_fallback", PLAIN, played(*other, script=empty)) is not None


def test_a_tool_call_says_nothing_where_the_tools_were_not_passed_on() -> None:
    """A router that sends no tools need not understand a call of one."""
    good = Good(text="", tool_calls=(ToolCall(id="1", name="find", arguments={}),), finish_reason="tool_calls")
    ask = Ask(request=RoutingRequest(params={"tools": [{}]}))
    calls = [call(1, "gpt-5", behaviour=good), call(2, "gpt-4.1", 1, behaviour=Good())]
    assert judge("no_spurious_fallback", PLAIN, played(*calls, ask=ask)) is None
    calls[0] = replace(calls[0], tools=("find",))
    assert judge("no_spurious_fallback", PLAIN, played(*calls, ask=ask)) is not None


def test_an_answer_without_usage_may_be_refused_where_money_is_counted() -> None:
    """What it cost is unknown; who counts nothing has no reason."""
    odd = Fails(faults.missing_usage())
    trial = played(call(1, "gpt-5", behaviour=odd, completed=True), error=KeyError("usage"))
    assert judge("no_spurious_fallback", replace(PLAIN, has_spend_of=True), trial) is None
    assert judge("no_spurious_fallback", PLAIN, trial) is not None


def test_work_is_bounded_in_sum_where_several_are_asked_at_once() -> None:
    """A model may be come back to there; the sum of all attempts is what counts."""
    promises = replace(PLAIN, retries=0, hedge_after=1.0)
    few = played(*(call(number, name) for number, name in enumerate(["gpt-5", "gpt-4.1", "gpt-5"])))
    many = played(*(call(number, "gpt-5") for number in range(4)))
    assert judge("bounded_work", promises, few) is None
    found = judge("bounded_work", promises, many)
    assert found is not None
    assert found.expected == "at the most 3 attempts: 3 models, once each"


def test_a_cascade_may_come_back_to_a_model() -> None:
    """Its tiers have fallbacks of their own."""
    promises = replace(PLAIN, retries=0, cascade=Cascade(tiers=("gpt-5",)))
    assert judge("bounded_work", promises, played(*(call(number, "gpt-5") for number in range(4)))) is None


def test_more_candidates_than_declared_are_too_many() -> None:
    """The chain has three; a fourth one is asked."""
    names = ["gpt-5", "gpt-4.1", "gpt-4o", "o3"]
    found = judge("bounded_work", PLAIN, played(*(call(number, name) for number, name in enumerate(names))))
    assert found is not None
    assert found.seen == "4 candidates were asked: gpt-5 -> gpt-4.1 -> gpt-4o -> o3"


def test_a_slow_stream_may_end_a_piece_late() -> None:
    """A router looks at its clock when a piece comes."""
    promises = replace(PLAIN, deadline=10.0)
    slow = Good(latency=30.0, chunks=30)
    late = call(1, "gpt-5", behaviour=slow, ended=10.9, streamed=True)
    assert judge("deadline", promises, played(late)) is None
    assert judge("deadline", promises, played(replace(late, ended=11.2))) is not None
    assert judge("deadline", promises, played(replace(late, streamed=False))) is not None


def test_the_smaller_deadline_of_a_request_counts() -> None:
    """Where requests may carry one."""
    ask = Ask(request=RoutingRequest(options={"deadline": 1.0}))
    late = played(call(1, "gpt-5", 2.0), ask=ask)
    promises = replace(PLAIN, deadline=10.0)
    assert judge("deadline", replace(promises, options=("deadline",)), late) is not None
    assert judge("deadline", promises, late) is None


def limited(number: int, at: float, wait: float, **seen: Any) -> SeenCall:
    """A call that is asked to wait."""
    return call(number, "gpt-5", at, behaviour=Fails(faults.rate_limit(retry_after=wait)), asked_to_wait=wait, **seen)


def test_an_attempt_before_its_moment_is_seen() -> None:
    """The last answer decides, not the first."""
    trial = played(limited(1, 0.0, 1.0), limited(2, 1.1, 5.0), call(3, "gpt-5", 2.3))
    found = judge("retry_after", PLAIN, trial)
    assert found is not None
    assert found.counts == {2: "asks to wait 5 s", 3: "comes after 1.1 s"}


def test_another_candidate_need_not_wait() -> None:
    """A fallback is not the host that asked."""
    assert judge("retry_after", PLAIN, played(limited(1, 0.0, 9.0), call(2, "gpt-4.1", 0.2))) is None


def test_a_wait_beyond_the_deadline_is_not_judged() -> None:
    """Whether to try once more or to give up then is not promised."""
    trial = played(limited(1, 0.0, 9.0), call(2, "gpt-5", 0.5))
    assert judge("retry_after", replace(PLAIN, deadline=5.0), trial) is None


def resting(*moments: tuple[float, str, float | None], promises: Promises) -> Violation | None:
    """A request whose model fails at 0 s, then others at their moments: whom they asked first."""
    script = Script(candidates=((DOWN,),))
    asks: list[SeenAsk] = []
    for number, (at, model, wait) in enumerate(moments):
        first = call(10 * number, model, at, behaviour=DOWN if number == 0 else Good(), asked_to_wait=wait)
        asks.append(SeenAsk(ask=Ask(), calls=(first, call(10 * number + 1, "gpt-4o", at + 0.2, behaviour=Good()))))
    scene = Scene(acts=tuple(Act(asks=(Ask(),), script=script) for _ in asks))
    return judge("cooldown", promises, Played(scene=scene, acts=tuple(SeenAct(asks=(ask,)) for ask in asks)))


@pytest.mark.parametrize(
    ("at", "model", "wait", "fine"),
    [
        (5.0, "gpt-5", None, False),
        (9.5, "gpt-5", None, True),
        (5.0, "gpt-4.1", None, True),
        (12.0, "gpt-4.1", None, False),
        (12.0, "gpt-5", None, True),
        (5.0, "gpt-5", 3.0, True),
        (2.0, "gpt-5", 4.0, False),
        (15.0, "gpt-4.1", 20.0, True),
        (15.0, "gpt-5", 20.0, True),
        (25.0, "gpt-4.1", 20.0, False),
    ],
)
def test_between_the_cooldown_and_a_wait_nothing_is_judged(
    at: float, model: str, wait: float | None, fine: bool
) -> None:
    """The shorter of the two is the least that a model rests, the longer one the most."""
    found = resting((0.0, "gpt-5", wait), (at, model, None), promises=replace(PLAIN, cooldown=10.0))
    assert (found is None) is fine


def test_a_cooldown_of_zero_is_off() -> None:
    """The model is asked first again at once."""
    promises = replace(PLAIN, cooldown=0.0)
    assert resting((0.0, "gpt-5", None), (1.0, "gpt-5", None), promises=promises) is None
    assert resting((0.0, "gpt-5", None), (1.0, "gpt-4.1", None), promises=promises) is not None


def test_a_cooldown_that_is_not_promised_is_not_judged() -> None:
    """A table names other models."""
    promises = replace(PLAIN, cooldown={"gpt-4o": 10.0})
    assert resting((0.0, "gpt-5", None), (1.0, "gpt-4.1", None), promises=promises) is None


# ------------------------------------------------------------------- what is pasted


def test_a_fault_in_other_words_is_pasted_as_it_is_made() -> None:
    """No function of faults takes a message."""
    fault = replace(faults.rate_limit(retry_after=2), message="busy")  # type: ignore[call-arg]
    assert code_of(fault) == "replace(faults.rate_limit(retry_after=2), message='busy')"


def test_a_request_with_a_script_of_its_own_can_be_played_again() -> None:
    """The report describes it, and its code makes it again."""
    ask = Ask(request=RoutingRequest(prompt="hi"), label="LOW", script=Script(models={"gpt-5-nano": (DOWN,)}))
    again = replace(ask, script=None)
    report = check_scenes(patience.Restless, "cooldown", [Scene(acts=(Act(asks=(ask,)), Act(asks=(again,))))])
    assert report is not None
    assert "gpt-5-nano: unavailable()" in report
    assert f"script={code_of(ask.script)}".replace(" ", "") in "".join(report.split())
