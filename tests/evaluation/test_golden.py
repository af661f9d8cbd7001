"""Golden routes: what is counted, what it costs, what beside, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelroute import Case, Price, PriceBook, Took, load_cases
from pytest_modelroute.errors import EvaluationError, PriceUnknown
from pytest_modelroute.evaluation.golden import GoldenReport, golden_report
from pytest_modelroute.evaluation.golden_cases import read_golden
from pytest_modelroute.evaluation.outcomes import Outcome, OutcomeMatrix
from pytest_modelroute.evaluation.routes import Routes

TIERS = ("nano", "mini", "large")
MODELS = (*TIERS, "stranger", None)
PRICES = PriceBook(
    own={
        name: Price(input=Decimal(price), output=Decimal(price))
        for name, price in (("nano", 1), ("mini", 4), ("large", 20), ("stranger", 7))
    }
)
few = settings(max_examples=30, deadline=None)


@st.composite
def labelled(draw: st.DrawFn) -> tuple[list[Case], dict[str, str | None]]:
    """Cases in slices, and the routes they took."""
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, 6),
                st.lists(st.sampled_from(TIERS), min_size=1, max_size=2, unique=True),
                st.sampled_from(["a", "b"]),
                st.sampled_from(MODELS),
            ),
            min_size=1,
            max_size=12,
        )
    )
    cases = [
        Case(id=str(number), inputs="word " * words, expected_route=tuple(expected), slice=part)
        for number, (words, expected, part, _) in enumerate(rows)
    ]
    return cases, {str(number): taken for number, (*_, taken) in enumerate(rows)}


@few
@given(labelled())
def test_every_case_is_right_or_wrong_in_one_way(drawn: tuple[list[Case], dict[str, str | None]]) -> None:
    """Right, under, over and other add up to all cases, for the router and each baseline, in every slice."""
    report = golden_report(*drawn, tiers=TIERS, prices=PRICES)
    for part in (report.whole, *report.slices):
        for tally in (part.router, *part.baselines):
            assert tally.right + tally.under + tally.over + tally.other == pytest.approx(tally.n)
    assert len(report.misroutes) == report.n - report.agreement.count


@few
@given(labelled())
def test_slices_add_up_to_the_whole(drawn: tuple[list[Case], dict[str, str | None]]) -> None:
    """In cases and in money, for the router and each baseline."""
    report = golden_report(*drawn, tiers=TIERS, prices=PRICES)
    rows = zip(*((part.router, *part.baselines) for part in report.slices), strict=True)
    for whole, parts in zip((report.whole.router, *report.whole.baselines), rows, strict=True):
        for field in ("n", "right", "under", "over", "other", "cost_usd", "saved_usd", "over_usd"):
            values = [getattr(part, field) for part in parts]
            assert float(getattr(whole, field)) == pytest.approx(float(sum(values)))


@few
@given(labelled(), st.randoms(use_true_random=False))
def test_the_order_of_the_cases_does_not_count(drawn: tuple[list[Case], dict[str, str | None]], random: Random) -> None:
    """Every number and finding is the same."""
    cases, taken = drawn
    shuffled = random.sample(cases, len(cases))
    one, other = (golden_report(each, taken, tiers=TIERS, prices=PRICES) for each in (cases, shuffled))
    assert one.whole == other.whole
    assert one.slices == other.slices
    assert [each.text for each in one.findings] == [each.text for each in other.findings]


@few
@given(labelled())
def test_random_is_the_mean_of_all_routings(drawn: tuple[list[Case], dict[str, str | None]]) -> None:
    """Uniform over the tiers, case by case: exact, not sampled."""
    cases, taken = drawn
    lot = golden_report(cases, taken, tiers=TIERS, prices=PRICES).whole.baseline("random")
    expected = sum(len(set(case.expected_routes)) / len(TIERS) for case in cases)
    cost = sum(PRICES.estimate(model, case.inputs, output_tokens=256) for case in cases for model in TIERS) / len(TIERS)
    assert lot.right == pytest.approx(expected)
    assert float(lot.cost_usd or 0) == pytest.approx(float(cost))
    assert lot.interval is None


@few
@given(labelled())
def test_the_strongest_for_all_never_under_routes_and_the_weakest_never_over_routes(
    drawn: tuple[list[Case], dict[str, str | None]],
) -> None:
    """What they get wrong costs or saves money at these prices."""
    report = golden_report(*drawn, tiers=TIERS, prices=PRICES)
    small, large = report.whole.baseline("always-small"), report.whole.baseline("always-large")
    assert (small.over, large.under) == (0, 0)
    assert (small.saved_usd or 0) >= 0 <= (large.over_usd or 0)


def cases_of(labels: Sequence[str], *, words: Sequence[int] = (), part: str | None = None) -> list[Case]:
    """A case a label, with so many words each; five where nothing is said."""
    return [
        Case(
            id=f"{part or 'c'}{number}",
            inputs=" ".join(f"w{number}" for _ in range(words[number] if words else 5)),
            expected_route=label,
            slice=part,
        )
        for number, label in enumerate(labels)
    ]


def routes_of(cases: Sequence[Case], models: Sequence[str | None]) -> dict[str, str | None]:
    """The models, case by case."""
    return {case.id: model for case, model in zip(cases, models, strict=True)}


def texts(report: GoldenReport) -> list[str]:
    """What was found, in words."""
    return [f"{each.slice}: {each.text}" if each.slice else each.text for each in report.findings]


def test_under_and_over_routing_are_counted_apart_each_with_its_cost() -> None:
    """Over-routing beside the strongest route that is fine, under-routing beside the weakest."""
    cases = [
        Case(id="a", inputs="x" * 400, expected_route=("nano", "mini")),
        Case(id="b", inputs="x" * 400, expected_route=("mini", "large")),
        Case(id="c", inputs="x" * 400, expected_route="mini"),
        Case(id="d", inputs="x" * 400, expected_route=("nano", "large")),
        Case(id="e", inputs="x" * 400, expected_route="nano"),
    ]
    taken = {"a": "large", "b": "nano", "c": "mini", "d": "mini", "e": None}
    router = golden_report(cases, taken, tiers=TIERS, prices=PRICES, output_tokens=100).whole.router
    assert (router.right, router.under, router.over, router.other) == (1, 1, 1, 2)
    # 200 tokens at 20 USD a million less 4, and at 4 less 1.
    assert (router.over_usd, router.saved_usd) == (Decimal("0.0032"), Decimal("0.0006"))


def test_what_finding_the_route_cost_is_the_routers_own() -> None:
    """The overhead is in its sum, and in no difference between routes."""
    cases = cases_of(["nano", "nano"])
    taken = {"c0": Took(model="nano", overhead_usd=Decimal(1)), "c1": Took(model=None, overhead_usd=Decimal(2))}
    whole = golden_report(cases, taken, tiers=TIERS, prices=PRICES).whole
    alone = PRICES.estimate("nano", cases[0].inputs, output_tokens=256)
    assert whole.router.cost_usd == 3 + alone
    assert whole.baseline("always-small").cost_usd == 2 * alone


def test_a_route_may_be_a_function_an_alias_or_a_tier() -> None:
    """The function gets the inputs of a case."""
    routes = Routes(
        aliases={"gpt-n": ["quick"], "gpt-l": ["best"]},
        tiers={"gpt-n": "small", "gpt-l": "large"},
        order=("small", "large"),
    )
    cases = [Case(id="a", inputs="x", expected_route="small"), Case(id="b", inputs="yy", expected_route="best")]
    report = golden_report(cases, lambda text: "quick" if text == "x" else "large", tiers=routes)
    assert [each.model for each in report.routed] == ["gpt-n", "gpt-l"]
    assert float(report.agreement) == 1.0


def test_cases_that_were_read_before_are_taken_as_they_are() -> None:
    """`read_golden` once, reports often."""
    golden = read_golden(cases_of(["nano", "large"]), tiers=TIERS)
    assert golden_report(golden, lambda _: "nano", tiers=TIERS).agreement.count == 1


def test_without_prices_routes_are_judged_and_costs_are_unknown() -> None:
    """Unknown, not 0."""
    report = golden_report(cases_of(["nano", "large"]), lambda _: "mini", tiers=TIERS)
    assert (report.whole.router.cost_usd, report.whole.router.over_usd) == (None, None)
    assert report.basis == "costs unknown: give prices= or outcomes="


def test_the_longest_cases_go_to_the_strongest_tier_in_the_numbers_of_the_labels() -> None:
    """The rule knows how many, not which; equal lengths are told apart by characters and id."""
    cases = cases_of(["nano", "large", "mini", "nano"], words=[9, 1, 5, 5])
    words = golden_report(cases, lambda _: "nano", tiers=TIERS).whole.baseline("word count")
    # c1 (1 word) and c2 go to nano, c3 to mini, c0 to large.
    assert (words.right, words.under, words.over) == (0, 2, 2)
    perfect = cases_of(["large", "nano", "mini", "nano"], words=[9, 1, 5, 4])
    assert golden_report(perfect, lambda _: "nano", tiers=TIERS).whole.baseline("word count").agreement == 1.0


LABELS = ["nano"] * 71 + ["large"] * 29


def test_a_router_that_a_constant_beats_is_told() -> None:
    """With both shares, the interval and the evidence."""
    cases = cases_of(LABELS)
    taken = routes_of(cases, ["large"] * 25 + ["nano"] * 71 + ["large"] * 4)
    found = texts(golden_report(cases, taken, tiers=("nano", "large")))
    assert "beaten by always-small: .50 [.40, .60] against .71 in agreement (p<.001, n=100)" in found


def test_a_router_that_is_right_is_told_nothing() -> None:
    """No finding, sure or not."""
    cases = cases_of(["nano", "large"] * 50)
    taken = routes_of(cases, ["nano", "large"] * 50)
    report = golden_report(cases, taken, tiers=("nano", "large"), prices=PRICES)
    assert [each.standing for each in report.comparisons] == ["better"] * 4
    assert report.findings == []


@pytest.mark.parametrize("seed", range(10))
def test_a_router_that_is_mostly_right_is_accused_of_nothing(seed: int) -> None:
    """Nine routes in ten, on balanced labels and any lengths: whatever is found is inconclusive."""
    random = Random(seed)  # noqa: S311 - a draw that repeats, not a secret
    labels = [random.choice(["nano", "large"]) for _ in range(60)]
    cases = cases_of(labels, words=[random.randint(1, 30) for _ in labels])
    taken = [label if random.random() < 0.9 else "nano" for label in labels]
    report = golden_report(cases, routes_of(cases, taken), tiers=("nano", "large"), prices=PRICES)
    assert {each.kind for each in report.findings} <= {"inconclusive"}


def test_few_cases_are_inconclusive_and_the_report_says_how_many_it_takes() -> None:
    """Six of six is better than a constant by luck as well."""
    cases = cases_of(["nano"] * 5 + ["large"])
    report = golden_report(cases, routes_of(cases, ["nano"] * 5 + ["large"]), tiers=("nano", "large"))
    (small,) = [each for each in report.findings if each.against == "always-small"]
    assert small.kind == "inconclusive"
    assert small.text == (
        "inconclusive against always-small: 1.00 [.61, 1.00] against .83 in agreement "
        "(difference [-.29, +.54]; n=6, needs about 104)"
    )
    assert {each.kind for each in report.findings} <= {"inconclusive"}


def test_a_router_that_always_takes_one_tier_is_no_better_than_that_tier() -> None:
    """Where there are enough cases to rule out more."""
    cases = cases_of(LABELS)
    found = texts(golden_report(cases, lambda _: "nano", tiers=("nano", "large")))
    assert (
        "no better than always-small: .71 [.61, .79] against .71 in agreement (difference [-.03, +.03], n=100, the "
        "same route in all 100 cases)"
    ) in found


def test_a_router_that_draws_lots_is_no_better_than_random() -> None:
    """The expected value is exact, the router's interval is all the doubt there is."""
    cases = cases_of(["nano", "large"] * 1000)
    taken = routes_of(cases, ["nano", "nano", "large", "large"] * 500)
    found = texts(golden_report(cases, taken, tiers=("nano", "large")))
    assert "no better than random: .50 [.48, .52] against .50 in agreement (difference [-.02, +.02], n=2000)" in found


def test_a_router_that_does_worse_than_chance_is_told() -> None:
    """Labels read the wrong way round."""
    cases = cases_of(["nano", "large"] * 30)
    report = golden_report(cases, routes_of(cases, ["large", "nano"] * 30), tiers=("nano", "large"))
    assert "beaten by random: .00 [.00, .06] against .50 in agreement (p<.001, n=60)" in texts(report)


def test_a_slice_in_which_a_constant_wins_is_named() -> None:
    """By its best baseline, although the router is the better one over all."""
    hard, easy = cases_of(["large"] * 40, part="hard"), cases_of(["nano", "large"] * 80, part="easy")
    taken = routes_of(hard, ["nano"] * 20 + ["large"] * 20) | routes_of(easy, ["nano", "large"] * 80)
    report = golden_report([*hard, *easy], taken, tiers=("nano", "large"))
    assert texts(report) == ["hard: beaten by always-large: .50 [.35, .65] against 1.00 in agreement (p<.001, n=40)"]


def outcome(case: str, model: str, right: bool | None, cost: str = "0.001", seconds: float = 1.0) -> Outcome:
    """What a model made of a case; no score for an error."""
    return Outcome(
        step=None,
        case=case,
        case_hash="",
        model=model,
        alias=model,
        tier=None,
        score=None if right is None else float(right),
        right=bool(right),
        output="",
        cost_usd=Decimal(cost),
        latency_s=seconds,
        input_tokens=1,
        output_tokens=1,
        error="timeout" if right is None else None,
    )


def matrix_of(cases: Sequence[Case], models: Mapping[str, Callable[[int], bool | None]]) -> OutcomeMatrix:
    """Who is right in which case; each model costs ten times as much as the one before, and takes a second more."""
    return OutcomeMatrix(
        outcomes=[
            outcome(case.id, model, right(number), str(Decimal("0.001") * 10**place), 1.0 + place)
            for place, (model, right) in enumerate(models.items())
            for number, case in enumerate(cases)
        ]
    )


def test_a_router_that_is_slower_and_dearer_than_one_tier_for_nothing_is_told() -> None:
    """Measured costs and seconds; the router sends all to the strongest tier, which is right no more often."""
    cases = cases_of(["mini"] * 150 + ["large"] * 50)
    matrix = matrix_of(cases, {"nano": lambda n: n % 4 == 0, "mini": lambda n: n % 5 > 0, "large": lambda n: n % 5 > 0})
    report = golden_report(cases, lambda _: "large", tiers=TIERS, outcomes=matrix)
    assert (
        "slower and dearer than always-medium: 3 s a case against 2 (+1 to +1); 0.1 USD a case against 0.01 (+0.09 to "
        "+0.09); and no better: .80 against .80 in right answers"
    ) in texts(report)
    assert not [each for each in report.findings if each.against == "always-small" and "right" in each.measure]


def test_a_dearer_router_that_may_be_better_is_inconclusive() -> None:
    """It says how many cases would tell, once and not twice."""
    cases = cases_of(["nano"] * 15 + ["large"] * 5)
    matrix = matrix_of(cases, {"nano": lambda n: n < 15, "large": lambda n: n < 17})
    report = golden_report(cases, lambda _: "large", tiers=("nano", "large"), outcomes=matrix)
    (small,) = [each for each in report.findings if each.against == "always-small" and each.measure == "right answers"]
    assert small.kind == "inconclusive"
    assert small.text.startswith("slower and dearer than always-small: 2 s a case against 1")
    assert small.text.endswith(
        "whether that buys anything is open: .85 against .75 in right answers (n=20, needs about 141)"
    )


def test_an_overhead_alone_makes_a_router_dearer() -> None:
    """It takes the same routes as the constant, and pays for a classifier."""
    cases = cases_of(["nano"] * 60 + ["large"] * 60)
    taken = {case.id: Took(model="nano", overhead_usd=Decimal("0.01")) for case in cases}
    found = texts(golden_report(cases, taken, tiers=("nano", "large"), prices=PRICES))
    (dearer,) = [text for text in found if text.startswith("dearer than always-small")]
    assert dearer.endswith("and no better: .50 against .50 in agreement")


def test_a_better_baseline_that_is_dearer_is_a_choice_and_not_a_finding() -> None:
    """In right answers: cheap and a little worse may be what is wanted."""
    cases = cases_of(["nano"] * 50 + ["large"] * 50)
    matrix = matrix_of(cases, {"nano": lambda n: n < 50, "large": lambda _: True})
    taken = routes_of(cases, ["nano"] * 70 + ["large"] * 30)
    report = golden_report(cases, taken, tiers=("nano", "large"), outcomes=matrix)
    standing = {each.against: each.standing for each in report.comparisons if each.measure == "right answers"}
    assert standing["always-large"] == "beaten"
    assert [each for each in report.findings if each.against == "always-large"] == []


def test_errors_count_in_no_comparison_of_answers() -> None:
    """A case on which a model broke down says nothing of who is right."""
    cases = cases_of(["nano", "large"] * 10)
    matrix = matrix_of(cases, {"nano": lambda n: None if n < 4 else True, "large": lambda n: None if n == 4 else False})
    report = golden_report(cases, lambda _: "nano", tiers=("nano", "large"), outcomes=matrix)
    by_name = {each.against: each.n for each in report.comparisons if each.measure == "right answers"}
    assert by_name == {"always-small": 16, "always-large": 15, "word count": 16, "random": 16}
    assert (report.whole.router.correct, report.whole.router.answered) == (16, 16)


def test_where_every_answer_is_an_error_no_answers_are_compared() -> None:
    """Routes still are."""
    cases = cases_of(["nano", "large"])
    matrix = matrix_of(cases, {"nano": lambda _: None, "large": lambda _: None})
    report = golden_report(cases, lambda _: "nano", tiers=("nano", "large"), outcomes=matrix)
    assert {each.measure for each in report.comparisons} == {"agreement"}


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (
            lambda: golden_report(cases_of(["nano", "large"]), {"c0": "nano"}, tiers=TIERS),
            "1 of 2 cases have no route, the first 'c1'; None stands for a case that no model answered",
        ),
        (
            lambda: golden_report(cases_of(["nano"]), {"c0": "nano", "c00": "nano"}, tiers=TIERS),
            "there is a route for the case 'c00', and no such case; did you mean 'c0'?",
        ),
        (
            lambda: golden_report(cases_of(["nano"]), {"c0": 3}, tiers=TIERS),  # type: ignore[dict-item]
            "the route of the case 'c0' is a model, an alias or a tier, or None where no model answered, not 3",
        ),
        (
            lambda: golden_report(cases_of(["nano"]), lambda _: "nano", tiers=TIERS, output_tokens=-1),
            "output_tokens=-1: an answer has no fewer tokens than 0",
        ),
        (
            lambda: golden_report(cases_of(["nano"]), lambda _: "nano", tiers=TIERS).whole.baseline("best"),
            "there is no baseline 'best'; there are: always-small, always-medium, always-large, word count, random",
        ),
    ],
)
def test_what_cannot_be_used_is_one_clear_error(call: Callable[[], object], problem: str) -> None:
    """It says what, and what to do."""
    with pytest.raises(EvaluationError) as error:
        call()
    assert str(error.value) == problem


def test_an_async_route_is_refused_and_leaves_nothing_unawaited() -> None:
    """The routes are awaited by who has a loop."""

    async def route(_inputs: Any) -> str:
        return "nano"

    with pytest.raises(EvaluationError, match=r"route= is async; await the routes first, and give them by case id"):
        golden_report(cases_of(["nano"]), route, tiers=TIERS)  # type: ignore[arg-type]


def test_an_unknown_price_is_an_error_and_not_0() -> None:
    """As everywhere."""
    with pytest.raises(PriceUnknown, match="'model-x' has no price"):
        golden_report(cases_of(["nano"]), lambda _: "nano", tiers=("nano", "model-x"), prices=PRICES)


WEAK, STRONG = "mixtral-8x7b-instruct-v0.1", "gpt-4-1106-preview"
REAL = Path(__file__).parent / "data" / "routing_pair.jsonl"


def real_matrix() -> OutcomeMatrix:
    """Who was right in the benchmark's questions."""
    return OutcomeMatrix(
        outcomes=[
            outcome(case.id, model, model in case.metadata["right"], cost)
            for case in load_cases(REAL)
            for model, cost in ((WEAK, "0.0002"), (STRONG, "0.006"))
        ]
    )


def test_on_real_questions_the_heuristic_is_beaten_by_a_constant() -> None:
    """272 questions of two benchmarks: length and question marks say little of who gets them right."""
    from pytest_modelroute.router import HeuristicClassifier

    classifier = HeuristicClassifier(labels={"LOW": WEAK, "MEDIUM": STRONG, "HIGH": STRONG})
    report = golden_report(REAL, classifier.classify, tiers=(WEAK, STRONG), outcomes=real_matrix())
    kinds = {(each.kind, each.against) for each in report.findings if each.measure == "agreement"}
    assert ("beaten", "always-small") in kinds
    assert report.whole.router.over > report.whole.router.under > 0


def test_on_real_questions_a_broken_slice_is_found() -> None:
    """The stronger model is right in 1 of 25 there, and guessing in 6."""
    chance = {"high_school_mathematics": 0.25, "professional_psychology": 0.25, "miscellaneous": 0.25}
    report = golden_report(REAL, lambda _: WEAK, tiers=(WEAK, STRONG), outcomes=real_matrix(), chance=chance)
    (broken,) = [warning for warning in report.warnings if "broken" in warning]
    assert broken == (
        "the slice 'high_school_mathematics': gpt-4-1106-preview, the strongest, is right in .04 [.01, .20] of 25 "
        "cases, below the .25 of guessing: its scores are broken (p=0.007)"
    )
