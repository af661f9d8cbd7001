"""Whether a cascade pays: from numbers, from the records of a router, and from outcomes."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as law
from hypothesis import strategies as st

from pytest_modelroute import BreakEven, MeasuredTier, MockProviders, ModelSettings, Settings, StepSettings, break_even
from pytest_modelroute.errors import EvaluationError, PriceUnknown
from pytest_modelroute.evaluation.outcomes import Outcome, OutcomeMatrix
from pytest_modelroute.evaluation.statistics import Interval, Rate, wilson
from pytest_modelroute.router import ModelClient, ModelRequest, ModelRouter


def _tier(name: str, cost: float, seconds: float = 1.0, accepted: int = 0, n: int = 0) -> MeasuredTier:
    return MeasuredTier(name=name, cost_usd=cost, latency_s=seconds, accepted=accepted, n=n)


LARGE = _tier("large", 0.005, 1.0)


# Numbers


def test_what_a_cascade_costs_is_what_its_tiers_cost_as_often_as_they_are_asked() -> None:
    """0.001 each time, 0.002 for the half that is left, and 0.005 for a quarter of that half."""
    tiers = [_tier("small", 0.001, 0.5, 5, 10), _tier("medium", 0.002, 0.8, 3, 4), LARGE]
    result = break_even(tiers)
    assert result.cascade_usd == pytest.approx(0.001 + 0.5 * 0.002 + 0.125 * 0.005)
    assert result.cascade_s == pytest.approx(0.5 + 0.5 * 0.8 + 0.125 * 1.0)
    assert (result.strongest, result.strongest_usd, result.strongest_s) == ("large", 0.005, 1.0)
    assert result.saved == pytest.approx(1 - result.cascade_usd / 0.005)
    assert result.later_s == pytest.approx(result.cascade_s - 1.0)


def test_the_interval_of_two_tiers_is_that_of_their_acceptance() -> None:
    """Nothing else is uncertain: what is saved is a straight line of it."""
    result = break_even([_tier("small", 0.001, 0.5, 120, 200), LARGE])
    low, high = wilson(120, 200)
    assert result.saved_interval == pytest.approx((low - 0.2, high - 0.2))
    assert result.later_interval == pytest.approx((0.5 - high, 0.5 - low))


def test_the_verdict_is_told_in_words() -> None:
    """With its interval, n, and where each tier begins to pay."""
    straight = "straight to small costs 67% less than the cascade, at -0.4 s"
    assert str(break_even([_tier("small", 0.001, 0.5, 120, 200), LARGE])).splitlines() == [
        "the cascade saves 40% [33, 47] per request against always large, at -0.1 s (n=200)",
        "  small pays from an acceptance of 20% on; 60% [53, 67] of n=200 was measured",
        f"  {straight}, and 40% [33, 47] of its answers would not be accepted",
    ]


def test_a_cascade_that_loses_is_told_so() -> None:
    """Its cheap tier is not cheap enough for what it does."""
    result = break_even([_tier("small", 0.004, 0.5, 50, 200), LARGE])
    assert result.verdict == "costs more"
    assert str(result).splitlines()[0] == (
        "the cascade costs 55% [49, 60] more per request than always large, at +0.2 s (n=200)"
    )


def test_a_few_answers_decide_nothing_and_it_is_told_how_many_would() -> None:
    """The interval decides, and not the estimate."""
    result = break_even([_tier("small", 0.002, 0.5, 6, 12), LARGE])
    assert result.verdict == "inconclusive"
    assert str(result).splitlines()[0] == (
        "inconclusive: n=12, the cascade saves 10% [-15, 35] per request against always large, at +0.0 s; some 74 "
        "requests would settle it"
    )
    assert break_even([_tier("small", 0.002, 0.5, 37, 74), LARGE]).verdict == "inconclusive"
    assert break_even([_tier("small", 0.002, 0.5, 50, 100), LARGE]).verdict == "saves"


@pytest.mark.parametrize("accepted", [200, 201])
def test_a_draw_is_settled_by_no_number_of_requests(accepted: int) -> None:
    """Nor by any that is worth its money."""
    result = break_even([_tier("small", 0.001, 0.5, accepted, 1000), LARGE])
    assert result.needed is None
    assert "more than 100,000 requests would settle it" in str(result)


def test_a_tier_that_costs_more_than_what_comes_after_it_never_pays() -> None:
    """Whatever it is accepted."""
    result = break_even([_tier("small", 0.006, 0.5, 10, 10), LARGE])
    assert result.tiers[0].pays_from == pytest.approx(1.2)
    assert result.break_even > 1
    assert "small never pays: it costs more than what comes after it; 100% [72, 100] of n=10 was measured" in str(
        result
    )


def test_free_tiers_are_no_division_by_zero() -> None:
    """Only the strongest has to cost something."""
    result = break_even([_tier("small", 0, 0.5, 1, 2), LARGE])
    assert (result.saved, result.break_even, result.tiers[0].pays_from) == (0.5, 0.0, 0.0)
    assert "straight to small costs 100% less" in str(result)
    all_accepted = break_even([_tier("small", 0, 0.5, 2, 2), _tier("medium", 0, 0.5, 2, 2), LARGE])
    assert all_accepted.saved == 1
    assert "straight to small costs 0% more" in str(all_accepted)


def test_means_of_single_values_have_intervals_of_their_own() -> None:
    """The uncertain cost of a tier makes what is saved less certain; the estimate stays."""
    costs, seconds = ["0.0005", "0.0015"] * 50, [0.4, 0.6] * 50
    small = MeasuredTier.of("small", costs=list(map(Decimal, costs)), latencies=seconds, accepted=60, n=100)
    assert small.cost_usd == Decimal("0.001")
    exact = break_even([_tier("small", 0.001, 0.5, 60, 100), LARGE])
    spread = break_even([small, LARGE])
    assert (spread.saved, spread.later_s) == pytest.approx((exact.saved, exact.later_s))
    assert spread.saved_interval.low < exact.saved_interval.low < exact.saved_interval.high < spread.saved_interval.high
    assert spread.later_interval.low < exact.later_interval.low


def test_a_single_value_has_no_interval_so_nothing_is_decided() -> None:
    """One request says nothing of the spread."""
    small = MeasuredTier.of("small", costs=[Decimal("0.001")], latencies=[0.5], accepted=1, n=1)
    result = break_even([small, LARGE])
    assert (result.verdict, result.saved_interval, result.needed) == ("inconclusive", (-math.inf, math.inf), None)
    assert "saves 80% [?, ?]" in str(result)


@pytest.mark.parametrize(
    ("tiers", "told"),
    [
        ([], "two tiers or more, weakest first and each once, were expected, not none"),
        ([LARGE], "two tiers or more, weakest first and each once, were expected, not large"),
        ([LARGE, LARGE], "two tiers or more, weakest first and each once, were expected, not large, large"),
        ([_tier("small", 0.001), LARGE], "tier 'small' was measured on no request; give accepted= and n="),
        ([_tier("small", 1, 1, 1, 2), _tier("large", 0)], "'large', the strongest tier, costs nothing"),
    ],
)
def test_evidence_that_says_nothing_is_refused(tiers: list[MeasuredTier], told: str) -> None:
    """In place of a verdict on it."""
    with pytest.raises(EvaluationError) as error:
        break_even(tiers)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"accepted": 3, "n": 2}, "tier 't': 3 of 2 answers cannot be accepted"),
        ({"accepted": -1, "n": 2}, "tier 't': -1 of 2 answers cannot be accepted"),
        ({"cost_usd": -1}, "tier 't': cost_usd is -1; a number, 0 or more, was expected"),
        ({"latency_s": math.nan}, "tier 't': latency_s is nan; a number, 0 or more, was expected"),
    ],
)
def test_what_cannot_have_been_measured_is_refused(members: dict[str, Any], told: str) -> None:
    """Where it is given."""
    with pytest.raises(EvaluationError) as error:
        MeasuredTier(**{"name": "t", "cost_usd": 1, "latency_s": 1, **members})
    assert str(error.value) == told


# Laws

COSTS = st.floats(0.001, 1)
TIERS = st.lists(st.tuples(COSTS, st.integers(0, 50)), min_size=1, max_size=4)


def _measured(tiers: list[tuple[float, int]]) -> list[MeasuredTier]:
    return [_tier(f"t{place}", cost, 1.0, accepted, 50) for place, (cost, accepted) in enumerate(tiers)]


@law(max_examples=50, deadline=None)
@given(tiers=TIERS, strongest=COSTS)
def test_a_tier_pays_from_where_the_cascade_is_cheaper_with_it(
    tiers: list[tuple[float, int]], strongest: float
) -> None:
    """Compared with the cascade without it."""
    measured = [*_measured(tiers), _tier("last", strongest)]
    whole = break_even(measured)
    for place, tier in enumerate(whole.tiers):
        rest = measured[:place] + measured[place + 1 :]
        without = break_even(rest).cascade_usd if len(rest) > 1 else strongest
        gain = without - whole.cascade_usd
        assert math.isclose(gain, 0, abs_tol=1e-9) or (gain > 0) == (tier.acceptance > tier.pays_from)


@law(max_examples=50, deadline=None)
@given(tiers=TIERS, strongest=COSTS)
def test_above_the_break_even_of_the_first_tier_the_cascade_saves(
    tiers: list[tuple[float, int]], strongest: float
) -> None:
    """And below it, it costs more than always the strongest."""
    result = break_even([*_measured(tiers), _tier("last", strongest)])
    if not math.isclose(result.saved, 0, abs_tol=1e-9) and result.break_even > 0:
        assert (result.saved > 0) == (result.tiers[0].acceptance > result.break_even)


@law(max_examples=50, deadline=None)
@given(tiers=TIERS, strongest=COSTS)
def test_the_estimate_lies_in_its_interval(tiers: list[tuple[float, int]], strongest: float) -> None:
    """And the verdict has words."""
    result = break_even([*_measured(tiers), _tier("last", strongest)])
    assert result.saved_interval.low <= result.saved <= result.saved_interval.high
    assert result.later_interval.low <= result.later_s <= result.later_interval.high
    assert "always last" in str(result)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Of 400 samples of a cascade of three tiers with uncertain acceptance, some 95 in 100 do."""
    chance, truth = random.Random(5), (0.6, 0.4)  # noqa: S311 - a simulation
    expected = 0.001 + 0.4 * (0.002 + 0.6 * 0.005)
    covered = 0
    for _ in range(400):
        first = sum(chance.random() < truth[0] for _ in range(100))
        second = sum(chance.random() < truth[1] for _ in range(100 - first))
        tiers = [_tier("small", 0.001, 1, first, 100), _tier("medium", 0.002, 1, second, 100 - first), LARGE]
        low, high = break_even(tiers).saved_interval
        covered += low <= 1 - expected / 0.005 <= high
    assert 0.92 <= covered / 400 <= 0.98


# Records of a router


def test_the_records_of_a_router_are_evidence(mock_providers: MockProviders) -> None:
    """Six requests of ten stay with the first tier; the measured costs and seconds are theirs."""

    def model(name: str, price: int) -> ModelSettings:
        return ModelSettings(model=name, input_price=Decimal(price), output_price=Decimal(10 * price))

    settings = Settings(
        models={"small": model("gpt-small", 1), "large": model("gpt-large", 10)},
        steps={"answer": StepSettings(model="small", cascade=("small", "large"))},
    )
    usage = {"fresh_input": 100, "output": 10}
    mock_providers.on(model="gpt-small").replies(["good"] * 6 + ["bad"] * 4, usage=usage, latency=0.5)
    mock_providers.on(model="gpt-large").replies("good", usage=usage, latency=2)
    client = ModelClient(settings, keys={"openai": "k"})
    router = ModelRouter(settings, client=client, gates={"answer": lambda text: text == "good"})
    for _ in range(10):
        router.route(ModelRequest(prompt="Hi", step="answer"))
    client.close()
    result = break_even(router.metrics.records)
    assert (result.n, result.strongest) == (10, "gpt-large")
    assert (float(result.tiers[0].acceptance), result.tiers[0].pays_from) == pytest.approx((0.6, 0.1))
    assert (result.saved, result.cascade_s) == pytest.approx((0.5, 0.5 + 0.4 * 2))


@dataclass
class _Try:
    model: str
    outcome: str
    cost_usd: Decimal = Decimal(1)
    latency_s: float = 1.0


@dataclass
class _Record:
    tried: list[_Try] = field(default_factory=list)
    step: str = "answer"


def _records(*climbs: str) -> list[_Record]:
    """Records from lines such as `small:rejected large:strongest`."""
    return [
        _Record([_Try(model, outcome) for model, _, outcome in (each.partition(":") for each in climb.split())])
        for climb in climbs
    ]


def test_a_failure_counts_as_not_accepted_and_what_was_given_up_not_at_all() -> None:
    """Nor does an answer that a broken verifier saw, nor one that the budget made the last."""
    result = break_even(
        _records(
            "small:accepted",
            "small:rate_limited large:strongest",
            "small:rejected large:strongest",
            "small:cancelled",
            "small:VerifierFailed",
            "small:strongest",
            "small:rejected large:overloaded",
            "",
        )
    )
    assert (result.tiers[0].acceptance.count, result.tiers[0].acceptance.n) == (1, 4)


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ([], "two tiers or more, weakest first and each once, were expected, not none"),
        (_records("small:accepted"), "two tiers or more, weakest first and each once, were expected, not small"),
        (
            _records("small:rejected medium:accepted"),
            "no request came to the strongest tier after 'medium', so what that costs was not measured",
        ),
        (_records("small:cancelled large:strongest"), "tier 'small' was measured on no request"),
        (
            [*_records("small:accepted"), _Record([_Try("small", "accepted")], step="other")],
            "these are the records of several steps, answer, other; give one's",
        ),
    ],
)
def test_records_that_do_not_say_enough_are_refused(records: list[_Record], told: str) -> None:
    """With what is missing."""
    with pytest.raises(EvaluationError) as error:
        break_even(records)
    assert told in str(error.value)


# Outcomes


def _outcome(case: int, model: str, *, right: bool, cost: str | None, seconds: float = 1.0) -> Outcome:
    return Outcome(
        step="answer",
        case=str(case),
        case_hash="",
        model=f"gpt-{model}",
        alias=model,
        tier=model,
        score=float(right),
        right=right,
        output="",
        cost_usd=None if cost is None else Decimal(cost),
        latency_s=seconds,
        input_tokens=0,
        output_tokens=0,
        error=None,
    )


def _matrix(rights: dict[str, str], costs: dict[str, str | None], seconds: float = 1.0) -> OutcomeMatrix:
    """Model -> for each case, whether it is right (+) or wrong (-)."""
    return OutcomeMatrix(
        outcomes=[
            _outcome(case, model, right=mark == "+", cost=costs[model], seconds=seconds)
            for model, marks in rights.items()
            for case, mark in enumerate(marks)
        ]
    )


THREE = _matrix(
    {"small": "++++------", "medium": "+++++++---", "large": "++++++++++"},
    {"small": "0.001", "medium": "0.002", "large": "0.005"},
)


def test_outcomes_are_counted_case_by_case() -> None:
    """Four cases stay with small, three with medium; nothing is assumed of the others."""
    result = break_even(THREE, tiers=["small", "medium", "gpt-large"])
    assert result.cascade_usd == pytest.approx(0.001 + 0.6 * 0.002 + 0.3 * 0.005)
    assert result.cascade_s == pytest.approx(1 + 0.6 + 0.3)
    small, medium = result.tiers
    assert (small.acceptance, small.alone) == (Rate(4, 10), Rate(4, 10))
    assert (medium.acceptance.count, medium.acceptance.n, medium.alone.count, medium.alone.n) == (3, 6, 7, 10)
    assert medium.cost_usd == pytest.approx(0.002)
    assert result.strongest == "gpt-large"


def test_a_gate_may_accept_something_else_than_what_is_right() -> None:
    """One that accepts everything leaves nothing to the others."""
    result = break_even(THREE, tiers=["small", "medium", "large"], accepts=lambda _outcome: True)
    assert result.cascade_usd == pytest.approx(0.001)
    assert "medium pays from an acceptance of 40% on; nothing was measured" in str(result)


def test_the_interval_of_outcomes_is_paired() -> None:
    """Where cascade and strongest cost the same in every case, there is nothing to be unsure of."""
    result = break_even(
        _matrix({"small": "----", "large": "++++"}, {"small": "1", "large": "4"}), tiers=["small", "large"]
    )
    assert (result.saved, result.saved_interval) == (-0.25, Interval(-0.25, -0.25))


def test_the_interval_of_outcomes_is_that_of_a_ratio() -> None:
    """By hand, of three cases that stay with small and one that does not; 3.182 is Student's quantile for four."""
    result = break_even(
        _matrix({"small": "+++-", "large": "++++"}, {"small": "1", "large": "4"}), tiers=["small", "large"]
    )
    half = 3.182446 * math.sqrt(((1 - 2) ** 2 * 3 + (5 - 2) ** 2) / 3) / math.sqrt(4) / 4
    assert result.saved == 0.5
    assert result.saved_interval == pytest.approx((0.5 - half, 0.5 + half), rel=1e-5)


def test_outcomes_without_a_cost_are_refused() -> None:
    """A cost that nobody knows is not nothing."""
    matrix = _matrix({"small": "+-", "large": "++"}, {"small": None, "large": "4"})
    with pytest.raises(
        PriceUnknown, match=r"^the case '0' has no known cost on 'gpt-small'; price it in the settings$"
    ):
        break_even(matrix, tiers=["small", "large"])


def test_outcomes_need_the_names_of_the_tiers() -> None:
    """Which of the models are a cascade, and in what order, they do not say."""
    with pytest.raises(
        EvaluationError, match="two tiers or more, weakest first and each once, were expected, not none"
    ):
        break_even(THREE)


@pytest.mark.parametrize("options", [{"tiers": ["small", "large"]}, {"accepts": lambda _outcome: True}])
def test_the_options_of_outcomes_are_for_outcomes(options: dict[str, Any]) -> None:
    """They would be passed over in silence."""
    with pytest.raises(EvaluationError, match=r"tiers= and accepts= go with an OutcomeMatrix"):
        break_even([_tier("small", 0.001, 0.5, 1, 2), LARGE], **options)


def test_the_result_is_of_a_public_class() -> None:
    """Its name is imported like any other."""
    assert isinstance(break_even([_tier("small", 0.001, 0.5, 1, 2), LARGE]), BreakEven)
