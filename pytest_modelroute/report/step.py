"""A step's evaluation in words: its failure, its summary, one case in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from shlex import quote
from typing import Final

from pytest_modelroute.errors import PriceUnknown
from pytest_modelroute.evaluation.cases import MISSING
from pytest_modelroute.evaluation.results import CaseResult, StepEvaluation
from pytest_modelroute.evaluation.statistics import Rate
from pytest_modelroute.evaluation.verdict import Verdict
from pytest_modelroute.report.numbers import counted, short, show_check, show_cost, show_miss, show_usd, table
from pytest_modelroute.wire.call_log import CallLog

_WORST: Final = 5
_ERRORS: Final = 3


def describe_failure(evaluation: StepEvaluation, verdict: Verdict, *, test: str) -> str:
    """
    Say why a step failed: verdict, limits, errors, worst cases, the commonest confusion, the command to rerun one.

    Args:
        evaluation: What was measured.
        verdict: How it was judged.
        test: The id of the test, for the command.

    """
    worst = worst_cases(evaluation)
    lines = [_headline(evaluation, verdict), *_limits(verdict), *_errors(evaluation)]
    if worst:
        lines += ["", *_worst(evaluation, worst), *_confusion(evaluation), *_misroutes(evaluation)]
    if evaluation.calls and evaluation.scored:
        lines += ["", "by model that answered:", *_by_model(evaluation)]
    extremes = _extremes(evaluation, verdict)
    for what, results in extremes.items():
        lines += ["", f"{what} cases:", *_by_figures(results)]
    for result in [*evaluation.errors, *worst, *(case for cases in extremes.values() for case in cases)][:1]:
        lines += ["", f"rerun one case: pytest {quote(test)} {quote(f'--modelroute-case={result.case.id}')}"]
    return "\n".join(lines)


def describe_case(evaluation: StepEvaluation) -> str:
    """The one case that was asked for, with all its calls."""
    lines: list[str] = []
    of_step = f" of step {evaluation.step!r}" if evaluation.step else ""
    for result in evaluation.results:
        case = result.case
        lines += [
            f"case {case.id!r}{of_step}: {_outcome(result)}",
            f"  inputs    {short(case.inputs, 200)}",
            f"  expected  {_expected(result, 200)}" + _route_note(result),
            f"  got       {short(result.error or result.output, 400)}",
            f"  answered  by {result.route or 'no model'}, {result.elapsed_s * 1000:.0f} ms ({evaluation.clock} time)",
        ]
    lines += [f"  {line}" for line in evaluation.calls.table().splitlines()]
    return "\n".join(lines)


def calls_of_worst(evaluation: StepEvaluation, verdict: Verdict, *, cases: int = 3) -> CallLog:
    """The calls of the worst cases and of those that ended in an error: the evidence of a failure."""
    extremes = [result for results in _extremes(evaluation, verdict).values() for result in results]
    shown = [*evaluation.errors, *worst_cases(evaluation), *extremes][:cases]
    return CallLog(call for result in shown for call in result.calls)


def summarise(evaluation: StepEvaluation, verdict: Verdict) -> list[str]:
    """A few lines on a step, for the end of the run: verdict first."""
    threshold = verdict.threshold
    word = "PASS" if verdict.ok else "FAIL"
    if threshold is None and verdict.ok:
        word = "    "
    lines = [f"{word}  {evaluation.step or 'unnamed step'}: {_size(evaluation)}"]
    if threshold is None:
        lines.append("        no limits: nothing was judged")
    lines += [f"  {show_check(check, threshold.confidence if threshold else None)}" for check in verdict.checks]
    if not any(check.limit == "min_accuracy" for check in verdict.checks) and evaluation.accuracy.n:
        lines.append(f"        accuracy {evaluation.accuracy!r}")
    if evaluation.calls:
        lines.append(f"        {show_cost(evaluation)}; {counted(len(evaluation.calls), 'provider call')}")
        lines += [f"    {line}" for line in _by_model(evaluation)]
    return lines


def _size(evaluation: StepEvaluation) -> str:
    errors = f", {len(evaluation.errors)} ended in an error" if evaluation.errors else ""
    return f"{counted(evaluation.n, 'case')}{errors}, {evaluation.clock} time"


def _headline(evaluation: StepEvaluation, verdict: Verdict) -> str:
    name = f"step {evaluation.step!r}" if evaluation.step else "the evaluation"
    if verdict.broken:
        return f"{name} misses its limit: {', '.join(map(show_miss, verdict.broken))}; {_size(evaluation)}"
    return f"{name} failed: {_size(evaluation)}"


def _limits(verdict: Verdict) -> list[str]:
    confidence = verdict.threshold.confidence if verdict.threshold is not None else None
    # What is broken comes first: a tired reader stops there.
    checks = [*verdict.broken, *(check for check in verdict.checks if check.ok)]
    return [f"  {show_check(check, confidence)}" for check in checks]


def _errors(evaluation: StepEvaluation) -> list[str]:
    if not evaluation.errors:
        return []
    more = len(evaluation.errors) - _ERRORS
    return [
        "",
        f"{len(evaluation.errors)} of {evaluation.n} cases ended in an error (not counted as wrong answers):",
        *(f"  case {result.case.id!r}: {short(result.error, 300)}" for result in evaluation.errors[:_ERRORS]),
        *([f"  ... {more} more"] if more > 0 else []),
    ]


def worst_cases(evaluation: StepEvaluation) -> list[CaseResult]:
    """The cases that are wrong or misrouted: lowest score first, then golden ones, then under-routed ones."""
    wrong = [result for result in evaluation.scored if not result.right or result.route_error]
    return sorted(
        wrong, key=lambda result: (result.score or 0.0, not result.case.golden, result.route_error != "under")
    )


def _worst(evaluation: StepEvaluation, worst: Sequence[CaseResult]) -> list[str]:
    rows = [("case", "expected", "got", "answered by", "expected route", "inputs")]
    rows += [
        (
            result.case.id,
            _expected(result, 32),
            short(result.output, 32),
            result.route or "no model",
            " or ".join(result.case.expected_routes) if result.route_error else "",
            short(result.case.inputs),
        )
        for result in worst[:_WORST]
    ]
    counts = f"{evaluation.accuracy.n - evaluation.accuracy.count} wrong"
    if evaluation.misroute_rate.count:
        counts += f", {evaluation.misroute_rate.count} misrouted"
    return [f"worst cases ({counts}):", *table(rows)]


def _confusion(evaluation: StepEvaluation) -> list[str]:
    """The commonest confusion, and which model it came from."""
    wrong = [
        (*result.labels, result.route or "no model")
        for result in evaluation.scored
        if not result.right and result.case.expected_output is not MISSING
    ]
    if not wrong:
        return []
    (expected, given), cases = Counter(pair[:2] for pair in wrong).most_common(1)[0]
    models = Counter(model for *pair, model in wrong if tuple(pair) == (expected, given))
    taken = f"{counted(cases, 'case')} of {short(expected)!r} {'was' if cases == 1 else 'were'} taken"
    by = ", ".join(f"{model} {count}" for model, count in models.most_common(3))
    return [f"confusion that cost most: {taken} for {short(given)!r} (by {by})"]


def _extremes(evaluation: StepEvaluation, verdict: Verdict) -> dict[str, list[CaseResult]]:
    """The cases to look at where a limit on latency or cost is missed."""
    units = {check.kind.unit for check in verdict.broken}
    found: dict[str, list[CaseResult]] = {}
    if "ms" in units:
        found["slowest"] = sorted(evaluation.scored, key=lambda result: -result.elapsed_s)[:_WORST]
    if "usd" in units:
        found["dearest"] = sorted(evaluation.results, key=lambda result: -result.cost_usd)[:_WORST]
    return found


def _by_figures(results: Sequence[CaseResult]) -> list[str]:
    rows = [("case", "elapsed", "cost USD", "calls", "answered by", "inputs")]
    rows += [
        (
            result.case.id,
            f"{result.elapsed_s * 1000:.0f} ms",
            _cost([result]),
            str(len(result.calls)),
            result.route or "no model",
            short(result.case.inputs),
        )
        for result in results
    ]
    return table(rows)


def _misroutes(evaluation: StepEvaluation) -> list[str]:
    if not evaluation.routed or not evaluation.misroute_rate:
        return []
    pairs = Counter(
        (" or ".join(result.case.expected_routes), result.route or "no model", result.route_error or "")
        for result in evaluation.routed
        if result.route_error
    )
    words = {"under": "under-routed", "over": "over-routed", "other": "another route"}
    under, over = evaluation.underroute_rate.count, evaluation.overroute_rate.count
    return [
        f"misroutes: {evaluation.misroute_rate!r}; under-routed {under}, over-routed {over}",
        *(
            f"  {cases} x expected {expected}, went to {model} ({words[error]})"
            for (expected, model, error), cases in pairs.most_common(4)
        ),
    ]


def _by_model(evaluation: StepEvaluation) -> list[str]:
    groups: dict[str, list[CaseResult]] = {}
    for result in evaluation.scored:
        groups.setdefault(result.route or "no model", []).append(result)
    rows = [("model", "cases", "right", "accuracy", "95%", "cost USD")]
    for model, results in sorted(groups.items(), key=lambda group: -len(group[1])):
        rate = Rate(sum(1 for result in results if result.right), len(results))
        low, high = rate.interval
        rows.append(
            (model, str(rate.n), str(rate.count), f"{float(rate):.3f}", f"{low:.3f} to {high:.3f}", _cost(results))
        )
    return table(rows)


def _cost(results: Sequence[CaseResult]) -> str:
    try:
        total = sum(result.cost_usd for result in results)
    except PriceUnknown:
        return "unknown"
    return show_usd(total) if total else "0"


def _expected(result: CaseResult, limit: int) -> str:
    expected = result.case.expected_output
    return "" if expected is MISSING else short(expected, limit)


def _outcome(result: CaseResult) -> str:
    if result.error is not None:
        return "ended in an error"
    if not result.right:
        return f"wrong (score {result.score:g})"
    return {"under": "under-routed", "over": "over-routed", "other": "took another route"}.get(
        result.route_error or "", "right"
    )


def _route_note(result: CaseResult) -> str:
    routes = result.case.expected_routes
    return f"  (route {' or '.join(routes)})" if routes else ""
