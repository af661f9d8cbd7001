"""The laws of selection: each finds its defects, spares what is correct, and is lenient where routers may differ."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pytest_modelroute.errors import CasesError, PromiseError
from pytest_modelroute.invariants import Capability, RoutingInvariants, RoutingRequest
from pytest_modelroute.invariants.binding import promises_of
from pytest_modelroute.invariants.checking import check_law, check_scenes
from pytest_modelroute.invariants.law import Violation
from pytest_modelroute.invariants.promises import BudgetPromise, Cascade, Promises
from pytest_modelroute.invariants.search import Finding
from pytest_modelroute.invariants.telling import tell
from pytest_modelroute.providers.exchange import Message
from tests.invariants.balanced_router import CorrectBalanced, CorrectLeastBusy, CorrectTurns
from tests.invariants.capable_router import CorrectCapable
from tests.invariants.choices import LARGE, MINI, NANO, TIERS, call, judged, played, seen
from tests.invariants.correct import Correct
from tests.invariants.correct_anthropic import CorrectAnthropic
from tests.invariants.correct_heuristic import CorrectForgiving, CorrectHeuristic
from tests.invariants.defects.selection import DEFECTS, FirstWeight, Misrouted, ObeysLabels, Unstripped

SAID = {
    "CaseSensitive": "gpt-5-nano for the same text with other case",
    "Unstripped": "for the same text with other whitespace",
    "Substring": "for the same text with typos",
    "FirstWord": "for the same text with preamble",
    "ObeysLabels": "for the text naming ",
    "ObeysModels": "for the text naming gpt-5-",
    "ObeysPhrases": "gpt-5 for the text naming the large model",
    "LongIsCheap": "gpt-5-nano, a weaker one, for the same text made harder",
    "OneWordDecides": "gpt-5-mini, a weaker one, for the same text made harder",
    "IgnoresCategory": "gpt-5",
    "WishAfterRules": "gpt-5",
    "FirstWeight": "with candidates in the order west, east",
    "AlwaysFirst": "east 100%, west 0%",
    "EvenSplit": "(east is too far off for chance)",
    "ImagesUnchecked": "which reads no images",
    "FallbackUnchecked": "o1-mini was asked, which ",
    "ContextUnchecked": "gpt-3.5-turbo was asked, which reads 4000 tokens, and was sent ",
    "Misrouted": "1 under-routed, 1 over-routed; the golden case law: gpt-5-nano",
}
"What the violation of each defect says was seen."


@cache
def found(law: str, kind: Any) -> Finding:
    """What came of trying a law on a class, once for all tests that look at it; a split has no smaller example."""
    return check_law(kind, law, smallest=law != "order_independence")


@pytest.mark.parametrize(("law", "kind"), [(law, kind) for law, kinds in DEFECTS.items() for kind in kinds], ids=str)
def test_each_law_finds_its_defects(law: str, kind: Any) -> None:
    """Each law finds its defects."""
    finding = found(law, kind)
    assert finding.violation is not None
    assert SAID[kind.__name__] in finding.violation.seen


@pytest.mark.parametrize(
    "kind",
    [
        Correct,
        CorrectHeuristic,
        CorrectForgiving,
        CorrectAnthropic,
        CorrectBalanced,
        CorrectTurns,
        CorrectLeastBusy,
        CorrectCapable,
    ],
)
def test_no_law_accuses_a_correct_router(kind: type[RoutingInvariants]) -> None:
    """No law accuses a correct router."""
    bound = [law for law in DEFECTS if getattr(kind, f"test_{law}", None) is not None]
    assert bound
    assert {law: check_law(kind, law, profile="quick").status for law in bound} == dict.fromkeys(bound, "held")


# -------------------------------------------------------------------------------------------------------- equivalences


def test_a_report_shows_the_two_texts_alone() -> None:
    """A report shows the two texts alone."""
    report = tell(found("no_instruction_override", ObeysLabels), name="ObeysLabels")
    shown = report.partition("smallest example:")[2].partition("what happened")[0].strip().splitlines()
    assert len(shown) == 2
    assert "[naming nothing] ask(" in shown[0]
    assert report.count("Scene(acts=") == 2


def test_the_scenes_of_a_report_show_the_violation_again() -> None:
    """The scenes of a report show the violation again."""
    finding = found("equivalence", Unstripped)
    assert finding.violation is not None
    report = check_scenes(Unstripped, "equivalence", [one.scene for one in finding.violation.plays])
    assert report is not None
    assert "Unstripped breaks equivalence" in report


@pytest.mark.parametrize("law", ["equivalence", "no_instruction_override", "monotone_difficulty"])
def test_a_route_that_goes_by_embeddings_is_not_judged(law: str) -> None:
    """Ours are made of the words of a text, and so move where those of a model would not."""
    trial = [played(seen(call("embed", role="embedding"), LARGE)), played(seen(call("embed", role="embedding"), NANO))]
    assert judged(law, trial) is None
    assert judged(law, [played(seen(LARGE)), played(seen(NANO))]) is not None


def test_a_request_that_no_model_was_asked_for_is_not_compared() -> None:
    """A request that no model was asked for is not compared."""
    assert judged("equivalence", [played(seen(NANO)), played(seen(error=ValueError("empty")))]) is None


def test_a_model_that_is_no_tier_has_no_rank_to_lose() -> None:
    """A model that is no tier has no rank to lose."""
    assert judged("monotone_difficulty", [played(seen(LARGE)), played(seen("o1-mini"))]) is None
    assert judged("monotone_difficulty", [played(seen(NANO)), played(seen(LARGE))]) is None


def test_a_rewrite_that_makes_no_text_is_a_mistake_of_the_class() -> None:
    """A rewrite that makes no text is a mistake of the class."""

    class Wrong(CorrectHeuristic):
        equivalences: ClassVar[Any] = (str.split,)

    with pytest.raises(
        PromiseError, match=r"equivalences: rewritten by split made \[.*\] of '.*'; a text was expected"
    ):
        check_law(Wrong, "equivalence")


# ----------------------------------------------------------------------------------------------------- explicit routes


def explicit(*calls: Any, category: str | None = None, model: str | None = None, **others: Any) -> Violation | None:
    """What the law of explicit routes says to a request that names one."""
    ends = {name: others.pop(name) for name in ("error",) if name in others}
    step = others.pop("step", None)
    request = RoutingRequest(category=category, step=step, options={"model": model} if model else {})
    return judged(
        "explicit_route", [played(seen(*calls, request=request, **ends))], categories={"easy": NANO}, **others
    )


def test_a_category_that_goes_elsewhere_is_a_violation() -> None:
    """A category that goes elsewhere is a violation."""
    violation = explicit(LARGE, category="easy")
    assert violation is not None
    assert violation.expected == "gpt-5-nano, since the request names the category 'easy'"
    assert violation.seen == "gpt-5"


def test_a_category_that_raises_is_a_violation() -> None:
    """A category that raises is a violation."""
    violation = explicit(category="easy", error=KeyError("easy"))
    assert violation is not None
    assert violation.seen == "no model: ask raised KeyError: 'easy'"


def test_a_documented_refusal_is_none() -> None:
    """A documented refusal is none."""
    assert explicit(category="easy", error=ValueError("empty"), refuses=(ValueError,)) is None


def test_a_refusal_for_the_sake_of_a_budget_is_none_but_a_crash_is() -> None:
    """A refusal for the sake of a budget is none but a crash is."""
    budget = BudgetPromise(1)
    assert explicit(category="easy", error=RuntimeError("nothing is left"), budget=budget) is None
    assert explicit(category="easy", error=KeyError("easy"), budget=budget) is not None


@pytest.mark.parametrize(
    "promises",
    [
        {"step": "draft", "steps": {"draft": LARGE}},
        {"step": "draft", "steps": {"draft": lambda _: NANO}},
        {"load_balanced": {LARGE: 1, MINI: 1}},
        {"cascade": Cascade()},
    ],
    ids=["a step's own model", "a step's rule", "a group", "a cascade"],
)
def test_another_promise_may_come_before_a_category(promises: dict[str, Any]) -> None:
    """Another promise may come before a category."""
    assert explicit(LARGE, category="easy", **promises) is None


def test_one_of_several_at_once_may_be_the_one_that_was_wished_for() -> None:
    """One of several at once may be the one that was wished for."""
    assert explicit(LARGE, MINI, model=MINI, hedge_after=0.0) is None
    assert explicit(LARGE, NANO, model=MINI, hedge_after=0.0) is not None


# ------------------------------------------------------------------------------------------------------------- golden


def golden(cases: list[dict[str, Any]], *routes: Any, **promises: Any) -> Violation | None:
    """What the law of golden routes says, where the cases took these routes."""
    trial = [
        played(route if not isinstance(route, str) else seen(route), name=f"golden case {case['id']}")
        for case, route in zip(cases, routes, strict=True)
    ]
    return judged("golden_routes", trial, golden=cases, **promises)


def test_under_and_over_routing_are_counted_apart() -> None:
    """Under and over routing are counted apart."""
    cases = [{"id": str(number), "inputs": "?", "expected_route": MINI} for number in range(5)]
    violation = golden(cases, NANO, NANO, LARGE, "o1-mini", MINI)
    assert violation is not None
    assert violation.seen == "2 under-routed, 1 over-routed, 1 elsewhere; the golden case 0: gpt-5-nano"
    assert violation.expected == "the route of each of 5 cases; for the golden case 0: gpt-5-mini"
    assert violation.play is not None
    assert violation.play.scene.name == "golden case 0"


def test_a_golden_case_may_be_refused_as_documented() -> None:
    """A golden case may be refused as documented."""
    refused = seen(error=ValueError("empty"))
    assert golden([{"id": "a", "inputs": "", "expected_route": NANO}], refused, refuses=(ValueError,)) is None
    violation = golden([{"id": "a", "inputs": "", "expected_route": NANO}], refused)
    assert violation is not None
    assert violation.seen == "1 elsewhere; the golden case a: no model: ask raised ValueError: empty"


@pytest.mark.parametrize("route", [["gpt-5-nano", "gpt-5"], "large", "HARD", "gpt-5"])
def test_a_route_is_a_model_a_size_a_category_or_one_of_several(route: Any) -> None:
    """A route is a model a size a category or one of several."""
    cases = [{"id": "a", "inputs": "?", "expected_route": route}]
    assert golden(cases, LARGE, categories={"HARD": LARGE}) is None
    assert golden(cases, MINI, categories={"HARD": LARGE}) is not None


def test_a_file_of_golden_cases_is_found_beside_the_class() -> None:
    """A file of golden cases is found beside the class."""

    class Filed(CorrectHeuristic):
        golden: ClassVar[Any] = "cases/golden.jsonl"
        equivalences = ()
        monotone = False

    assert promises_of(Filed).golden == str(Path(__file__).resolve().parent / "cases" / "golden.jsonl")
    with pytest.raises(CasesError, match="there is no case file"):
        check_law(Filed, "golden_routes")


def test_golden_cases_are_read_from_a_file(tmp_path: Path) -> None:
    """Golden cases are read from a file."""
    rows = [
        {"id": "a", "inputs": {"question": "debug this"}, "expected_route": "large"},
        {"id": "b", "inputs": ["hi"], "expected_route": "gpt-5-nano"},
    ]
    (tmp_path / "golden.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")

    class Filed(CorrectHeuristic):
        golden: ClassVar[Any] = tmp_path / "golden.jsonl"
        equivalences = ()
        monotone = False

    assert check_law(Filed, "golden_routes").status == "held"


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ({"id": "a", "inputs": "?"}, "golden: the case 'a' has no expected_route: a tier, or a list of tiers"),
        (
            {"id": "a", "inputs": "?", "expected_route": "gpt-6"},
            "golden: the case 'a' expects the route 'gpt-6', which is neither a model nor a label of this router",
        ),
    ],
)
def test_a_golden_case_without_a_known_route_is_a_mistake(case: dict[str, Any], said: str) -> None:
    """A golden case without a known route is a mistake."""

    class Wrong(CorrectHeuristic):
        golden: ClassVar[Any] = [case]
        equivalences = ()
        monotone = False

    with pytest.raises(PromiseError) as error:
        check_law(Wrong, "golden_routes")
    assert str(error.value).startswith(said)


def test_a_test_to_paste_has_the_misrouted_case_alone() -> None:
    """A test to paste has the misrouted case alone."""
    report = tell(found("golden_routes", Misrouted), name="Misrouted")
    assert report.count("Scene(acts=") == 1


# --------------------------------------------------------------------------------------------------------- candidates


def split(counts: dict[str, int], **weights: float) -> Violation | None:
    """What the law of the split says to so many requests for each candidate."""
    asks = [seen(call(MINI, provider=name)) for name, number in counts.items() for _ in range(number)]
    return judged("order_independence", [played(*asks, name="candidates as declared")], load_balanced=weights)


@pytest.mark.parametrize(
    "counts", [{"east": 228, "west": 76}, {"east": 250, "west": 54}, {"east": 200, "west": 104}, {"west": 50}]
)
def test_a_split_that_may_be_chance_is_none(counts: dict[str, int]) -> None:
    """A split that may be chance is none."""
    assert split(counts, east=3, west=1) is None


def test_a_split_that_cannot_be_chance_is_told_in_shares() -> None:
    """A split that cannot be chance is told in shares."""
    violation = split({"east": 152, "west": 152}, east=3, west=1)
    assert violation is not None
    assert violation.expected == "a split by the weights in whatever order the candidates are given: east 75%, west 25%"
    assert violation.seen == (
        "with candidates as declared, of 304 requests: east 50%, west 50% (east is too far off for chance)"
    )


def test_a_candidate_of_weight_0_is_never_used() -> None:
    """A candidate of weight 0 is never used."""
    assert split({"east": 299, "west": 1}, east=1, west=0) is not None
    assert split({"east": 300}, east=1, west=0) is None


def test_orders_are_judged_together_too() -> None:
    """What is too little to tell in each of two scenes may be enough in both."""
    counts = Counter(east=77, west=47)
    asks = [seen(call(MINI, provider=name)) for name in counts.elements()]
    one = played(*asks, name="candidates as declared")
    assert judged("order_independence", [one], load_balanced={"east": 9, "west": 2}) is None
    both = judged("order_independence", [one, one, one], load_balanced={"east": 9, "west": 2})
    assert both is not None
    assert both.seen.startswith("in all orders together, of 372 requests: ")
    assert both.play is None


def test_candidates_are_given_in_the_order_of_the_scene() -> None:
    """Candidates are given in the order of the scene."""
    finding = found("order_independence", FirstWeight)
    assert finding.violation is not None
    assert finding.violation.play is not None
    assert finding.violation.play.scene.order == ("west", "east")
    assert len(finding.violation.play.asks) == 304
    assert len({ask.calls[0].prompt for ask in finding.violation.play.asks}) == 304


LIMITS = {NANO: Capability(context=1000, tools=False, images=False, streaming=False), LARGE: Capability()}
IMAGE = {"messages": [{"content": [{"image_url": {"url": "data:image/png;base64,iVBORw0KGgoAAAA"}}]}]}


def capable(*calls: Any, **promises: Any) -> Violation | None:
    """What the law of capabilities says to these calls."""
    return judged("capability", [played(seen(*calls))], **{"capabilities": LIMITS, **promises})


def sent(text: str) -> dict[str, Any]:
    """What a call with this text was sent."""
    return {"messages": (Message(role="user", text=text),)}


@pytest.mark.parametrize(
    ("sends", "why"),
    [
        ({"tools": ("find_order",)}, "has no tools"),
        ({"body": IMAGE}, "reads no images"),
        ({"streamed": True}, "does not stream"),
        (sent("word " * 1500), "reads 1000 tokens, and was sent 1500 words"),
    ],
)
def test_a_candidate_is_not_asked_for_what_it_lacks(sends: dict[str, Any], why: str) -> None:
    """A candidate is not asked for what it lacks."""
    violation = capable(call(NANO, **sends))
    assert violation is not None
    assert violation.seen == f"gpt-5-nano was asked, which {why}"
    assert violation.expected == "a candidate that can serve the request, such as gpt-5"
    assert violation.counts == {1: why}


def test_what_a_router_takes_out_of_a_request_is_not_lacking() -> None:
    """It may describe an image, gather a stream, or cut a text itself."""
    assert capable(call(NANO, **sent("word " * 900))) is None


def test_without_anybody_who_surely_can_nothing_is_wrong() -> None:
    """Without anybody who surely can nothing is wrong."""
    tight = {NANO: Capability(context=1000), LARGE: Capability(context=1500)}
    assert capable(call(NANO, **sent("word " * 1500)), capabilities=tight) is None
    assert capable(call(NANO, tools=("find",)), capabilities={NANO: Capability(tools=False)}) is None


def test_a_step_leaves_other_tiers_out() -> None:
    """A step leaves other tiers out."""
    assert capable(call(NANO, tools=("find",)), steps={"draft": NANO}) is None
    assert capable(call(NANO, tools=("find",)), steps={"draft": NANO}, fallbacks={NANO: (LARGE,)}) is not None


def test_when_who_can_has_failed_an_error_is_due() -> None:
    """When who can has failed an error is due."""
    violation = capable(call(LARGE, status=503, completed=False), call(NANO, 2, tools=("find",)))
    assert violation is not None
    assert violation.expected == "an error, since gpt-5, which can serve the request, had failed"


def test_laws_need_their_promises() -> None:
    """Laws need their promises."""
    bare = Promises(tiers=TIERS)
    from pytest_modelroute.invariants.law import all_laws

    assert not [law for law in DEFECTS if all_laws()[law].binds(bare)]
    assert all_laws()["explicit_route"].binds(Promises(tiers=TIERS, options=("model",)))
