"""The limits of a step as they may be written, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from pytest_modelroute.errors import ThresholdError
from pytest_modelroute.evaluation.thresholds import LIMITS, StepThreshold, read_marks

ALL = (
    "min_accuracy, min_pass_rate, min_mean_score, min_precision, min_recall, min_f1, max_latency_ms, "
    "max_mean_latency_ms, max_cost_usd, max_total_cost_usd, max_misroute_rate, max_underroute_rate, "
    "max_overroute_rate, max_escalation_rate"
)
SHARES = [name for name, kind in LIMITS.items() if kind.unit == "share"]
TIMES = [name for name, kind in LIMITS.items() if kind.unit == "ms"]
COSTS = [name for name, kind in LIMITS.items() if kind.unit == "usd"]


def _read(*args: Any, **limits: Any) -> StepThreshold:
    return StepThreshold.from_marker(args, limits, defaults={})


def _merged(defaults: Mapping[str, Any], **limits: Any) -> StepThreshold:
    return StepThreshold.from_marker(["s"], limits, defaults=defaults)


def _problem(*args: Any, **limits: Any) -> str:
    with pytest.raises(ThresholdError) as caught:
        _read(*args, **limits)
    return str(caught.value)


def _marks_problem(*marks: Any, steps: tuple[str, ...] = (), defaults: Any = None) -> str:
    with pytest.raises(ThresholdError) as caught:
        read_marks(marks, steps=steps, defaults=defaults or {})
    return str(caught.value)


def test_the_limits_that_exist_are_these() -> None:
    """Their names are what users write: none may vanish or change."""
    assert ", ".join(LIMITS) == ALL


@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_is_accepted(name: str) -> None:
    """Each may stand alone in a marker."""
    assert _read("s", **{name: 1}) == StepThreshold(step="s", limits={name: 1.0})


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0])
def test_a_share_may_be_all_or_nothing(name: str, value: float) -> None:
    """Both ends are limits."""
    assert _read("s", **{name: value}).limits == {name: value}


@pytest.mark.parametrize("name", COSTS)
def test_a_cost_may_be_nothing(name: str) -> None:
    """A step on a free model has the limit 0."""
    assert _read("s", **{name: 0}).limits == {name: 0}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("min_acuracy", "min_accuracy"), ("max_latency", "max_latency_ms"), ("confidense", "confidence")],
)
def test_an_unknown_limit_names_the_nearest(name: str, nearest: str) -> None:
    """A typo would otherwise be a limit that never fails."""
    assert _problem("s", **{name: 0.5}) == f"step_threshold('s'): unknown limit {name!r}; did you mean {nearest!r}?"


def test_an_unknown_limit_like_no_other_lists_what_there_is() -> None:
    """Limits and options alike."""
    assert _problem("s", zzz=1) == f"step_threshold('s'): unknown limit 'zzz'; known are: {ALL}, positive, confidence"


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, False, "0.9", None, [1]])
def test_a_limit_is_a_number(name: str, value: object) -> None:
    """NaN, infinity, truths and texts would never fail, or always."""
    assert _problem("s", **{name: value}) == f"step_threshold('s'): {name}={value!r} is not a number"


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize(("value", "hint"), [(90, "; 90% is 0.9"), (1.5, "; 1.5% is 0.015"), (101, ""), (-0.1, "")])
def test_a_share_lies_between_nought_and_one(name: str, value: float, hint: str) -> None:
    """A value that looks like percent is answered with the share."""
    assert _problem("s", **{name: value}) == (
        f"step_threshold('s'): {name}={value!r} is impossible: a share lies between 0 and 1{hint}"
    )


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("value", [0, -5, -0.5])
def test_a_time_is_more_than_nothing(name: str, value: float) -> None:
    """No call takes 0 ms or less."""
    assert _problem("s", **{name: value}) == (
        f"step_threshold('s'): {name}={value!r} is impossible: no call takes {value} ms"
    )


@pytest.mark.parametrize("name", COSTS)
def test_a_cost_is_not_negative(name: str) -> None:
    """Nobody is paid for a call."""
    assert _problem("s", **{name: -0.01}) == (f"step_threshold('s'): {name}=-0.01 is impossible: no cost is negative")


@pytest.mark.parametrize(
    ("args", "call"),
    [
        ((), "min_f1=0.5"),
        (("a", "b"), "'a', 'b', min_f1=0.5"),
        ((0.9,), "0.9, min_f1=0.5"),
        (("",), "'', min_f1=0.5"),
    ],
    ids=["none", "two", "number", "empty"],
)
def test_a_marker_names_one_step(args: tuple[Any, ...], call: str) -> None:
    """The message shows the marker as it was written, and one that would do."""
    assert _problem(*args, min_f1=0.5) == (
        f"step_threshold takes the name of one step, then limits by name, not step_threshold({call}); "
        'for example step_threshold("classify_intent", min_accuracy=0.90)'
    )


@pytest.mark.parametrize("options", [{}, {"confidence": 0.95}, {"positive": "fraud"}])
def test_a_step_without_a_limit_is_refused(options: Mapping[str, Any]) -> None:
    """Options alone judge nothing: the test would pass whatever happens."""
    assert _problem("s", **options) == (
        "step_threshold('s') has no limit, so it would pass whatever happens; give it one here or in "
        f"[tool.modelroute.thresholds.s]. Limits: {ALL}"
    )


def test_limits_left_out_come_from_the_settings() -> None:
    """A marker needs no limit where the settings have one."""
    assert _merged({"min_f1": 0.5, "confidence": 0.9}) == StepThreshold(
        step="s", limits={"min_f1": 0.5}, confidence=0.9
    )


def test_limits_of_the_marker_are_added_to_the_settings() -> None:
    """Both judge."""
    assert _merged({"min_f1": 0.5}, max_latency_ms=9).limits == {"min_f1": 0.5, "max_latency_ms": 9}


def test_a_limit_of_the_marker_wins_over_the_settings() -> None:
    """The nearest one counts, option or limit."""
    threshold = _merged({"min_f1": 0.5, "confidence": 0.9}, min_f1=0.7, confidence=0.8)
    assert (threshold.limits, threshold.confidence) == ({"min_f1": 0.7}, 0.8)


def test_a_marker_may_take_back_an_option_of_the_settings() -> None:
    """None judges the estimate again."""
    assert _merged({"min_f1": 0.5, "confidence": 0.9}, confidence=None).confidence is None


@pytest.mark.parametrize("name", ["min_precision", "min_recall", "min_f1"])
def test_a_positive_label_goes_with_label_limits(name: str) -> None:
    """Precision, recall and F1 may be judged on one label."""
    assert _read("s", positive="fraud", **{name: 0.5}).positive == "fraud"


def test_a_positive_label_without_a_label_limit_is_refused() -> None:
    """It would change nothing, which its author does not know."""
    assert _problem("s", positive="fraud", min_accuracy=0.5) == (
        "step_threshold('s'): positive='fraud' changes nothing without min_precision, min_recall, min_f1"
    )


@pytest.mark.parametrize("value", [1, True, ["fraud"]])
def test_a_positive_label_is_a_string(value: object) -> None:
    """Labels are compared as text."""
    assert _problem("s", positive=value, min_f1=0.5) == (
        f"step_threshold('s'): positive={value!r} is not a label, that is, a string"
    )


@pytest.mark.parametrize("value", [0, 1, 95, -0.5, math.nan, True, "0.95"])
def test_a_confidence_lies_between_nought_and_one(value: object) -> None:
    """Neither end is a confidence, and percent is not guessed at."""
    assert _problem("s", confidence=value, min_f1=0.5) == (
        f"step_threshold('s'): confidence={value!r} is not between 0 and 1, such as 0.95"
    )


def test_a_table_says_where_it_stands() -> None:
    """The same checks serve the settings, whose messages begin with the table."""
    with pytest.raises(ThresholdError, match=r"^thresholds\.s: unknown limit 'min_f2'; did you mean 'min_f1'\?$"):
        StepThreshold.from_table("s", {"min_f2": 0.5}, where="thresholds.s")


def test_several_steps_may_be_marked() -> None:
    """One threshold a step, the nearest marker first."""
    marks = [(("b",), {"min_f1": 0.5}), (("a",), {"min_recall": 0.5})]
    assert [threshold.step for threshold in read_marks(marks, steps=["a", "b"], defaults={})] == ["b", "a"]


def test_each_step_has_the_defaults_of_its_own() -> None:
    """The settings are looked up by step."""
    defaults = {"a": {"min_f1": 0.1}, "b": {"min_f1": 0.2}}
    read = read_marks([(("a",), {}), (("b",), {})], steps=[], defaults=defaults)
    assert [threshold.limits["min_f1"] for threshold in read] == [0.1, 0.2]


def test_without_declared_steps_any_step_may_be_marked() -> None:
    """The settings may say nothing of steps."""
    assert len(read_marks([(("anything",), {"min_f1": 0.5})], steps=[], defaults={})) == 1


def test_a_step_that_is_not_declared_names_the_nearest() -> None:
    """A renamed step is found at its marker."""
    assert _marks_problem((("clasify",), {"min_f1": 0.5}), steps=("classify", "answer")) == (
        "step_threshold('clasify'): there is no such step in the settings; did you mean 'classify'?"
    )


def test_a_step_like_no_other_lists_the_declared_ones() -> None:
    """In the order of the alphabet."""
    assert _marks_problem((("zzz",), {"min_f1": 0.5}), steps=("classify", "answer")) == (
        "step_threshold('zzz'): there is no such step in the settings; declared are: answer, classify"
    )


def test_a_typo_in_a_step_that_has_its_limits_in_the_settings_names_the_nearest() -> None:
    """A marker without limits of its own is right for a declared step, so the name is what is wrong."""
    assert _marks_problem((("clasify",), {}), steps=("classify",), defaults={"classify": {"min_f1": 0.5}}) == (
        "step_threshold('clasify'): there is no such step in the settings; did you mean 'classify'?"
    )


def test_one_step_marked_twice_with_different_limits_is_refused() -> None:
    """Which of them counts is not guessed at."""
    assert _marks_problem((("a",), {"min_f1": 0.5}), (("a",), {"min_f1": 0.6})) == (
        "step_threshold('a') stands twice on this test with different limits; keep one"
    )


def test_one_step_marked_twice_alike_is_one() -> None:
    """A marker of the class repeated on a method does no harm."""
    marks = [(("a",), {"min_f1": 0.5}), (("a",), {"min_f1": 0.5})]
    assert len(read_marks(marks, steps=[], defaults={})) == 1


def test_a_marker_without_a_step_is_refused_among_others() -> None:
    """The message of the marker itself."""
    assert _marks_problem(((), {"min_f1": 0.5})).startswith("step_threshold takes the name of one step")
