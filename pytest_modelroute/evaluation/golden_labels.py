"""Whether the labels of golden cases can be trusted: against each other, and against what the models made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Final

from pytest_modelroute.errors import EvaluationError
from pytest_modelroute.evaluation.golden_cases import GoldenCase, Ladder
from pytest_modelroute.evaluation.golden_findings import show_share
from pytest_modelroute.evaluation.golden_runs import Measure
from pytest_modelroute.evaluation.paired import Pairs
from pytest_modelroute.evaluation.statistics import binomial_cdf, wilson

Chance = float | Mapping[str, float] | None
"The share that guessing gets right: one for all cases, or one for each slice."
_SHOWN: Final = 3
_ADD: Final = "add cases that need another tier"
_SURE: Final = 0.01
"Of each part by itself: a warning may come for nothing now and then, a broken slice among many must not get away."
ALL: Final = "all cases"


def slices_of(cases: Iterable[GoldenCase]) -> dict[str, list[GoldenCase]]:
    """The cases of each slice, by its name; those without one are in none."""
    slices: dict[str, list[GoldenCase]] = {}
    for case in cases:
        if case.slice is not None:
            slices.setdefault(case.slice, []).append(case)
    return dict(sorted(slices.items()))


def doubts_of_labels(cases: Sequence[GoldenCase], ladder: Ladder) -> list[str]:
    """Labels that contradict each other, and parts of the cases in which all are alike."""
    alike = {name: part for name, part in slices_of(cases).items() if _one_label(part, ladder)}
    found = _contradictions(cases, ladder)
    if _one_label(cases, ladder):
        return [*found, f"all {len(cases)} cases expect {_label(cases[0], ladder)}: always taking it is right; {_ADD}"]
    if alike:
        named = ", ".join(f"{name!r} ({len(part)}, {_label(part[0], ladder)})" for name, part in alike.items())
        found.append(f"slices with one label, where always taking it is right: {named}; {_ADD}")
    return found


def _one_label(cases: Sequence[GoldenCase], ladder: Ladder) -> bool:
    return len(cases) > 1 and len({_tiers(case, ladder) for case in cases}) == 1


def _label(case: GoldenCase, ladder: Ladder) -> str:
    return " or ".join(sorted(_tiers(case, ladder), key=ladder.rank))


def _tiers(case: GoldenCase, ladder: Ladder) -> frozenset[str]:
    return frozenset(ladder.routes.tier(ladder.model(route)) for route in case.expected)


def _contradictions(cases: Sequence[GoldenCase], ladder: Ladder) -> list[str]:
    same: dict[str, list[GoldenCase]] = {}
    for case in cases:
        same.setdefault(json.dumps(case.inputs, sort_keys=True, default=repr), []).append(case)
    pairs = [
        (one, other)
        for group in same.values()
        for one, other in combinations(group, 2)
        if not _tiers(one, ladder) & _tiers(other, ladder)
    ]
    shown = [
        f"{one.id!r} ({' or '.join(one.expected)}) and {other.id!r} ({' or '.join(other.expected)})"
        for one, other in pairs[:_SHOWN]
    ]
    more = f", and {len(pairs) - _SHOWN} more pairs" if len(pairs) > _SHOWN else ""
    return [f"the same input with different expected routes: {'; '.join(shown)}{more}"] if pairs else []


def doubts_of_outcomes(cases: Sequence[GoldenCase], ladder: Ladder, measure: Measure, chance: Chance) -> list[str]:
    """
    Parts of the cases in which a stronger model does worse than a weaker one, or than guessing.

    There the scores are broken, or the order of the tiers is; either way labels made from them teach the wrong thing.

    Raises:
        EvaluationError: A chance that is no share, or one of a slice that is not there.

    """
    slices = slices_of(cases)
    _check_chance(chance, slices)
    parts = {ALL: list(cases)} | slices
    right = {case.id: [measure(case, model).right for model in ladder.models] for case in cases}
    doubts: list[tuple[float, str]] = []
    for name, part in parts.items():
        scores = [right[case.id] for case in part]
        doubts += _inverted(name, scores, ladder)
        guessed = chance.get(name) if isinstance(chance, Mapping) else chance
        if guessed is not None:
            doubts += _guessing(name, scores, ladder, guessed)
    found = [f"{text} (p={p:.1g})" for p, text in doubts if p < _SURE]
    return found + _wrong_labels(cases, ladder, right)


def _check_chance(chance: Chance, slices: Mapping[str, object]) -> None:
    given = chance if isinstance(chance, Mapping) else {} if chance is None else {ALL: chance}
    for name, share in given.items():
        if not 0 <= share < 1:
            raise EvaluationError(f"chance={share!r} is no share of right guesses, such as 0.25 for four choices")
        if name != ALL and name not in slices:
            raise EvaluationError(f"chance: there is no slice {name!r}; there are: {', '.join(slices) or 'none'}")


def _where(name: str) -> str:
    return name if name == ALL else f"the slice {name!r}"


def _inverted(name: str, scores: Sequence[Sequence[bool | None]], ladder: Ladder) -> list[tuple[float, str]]:
    """(p-value, text) for every stronger tier that is right less often than a weaker one."""
    found: list[tuple[float, str]] = []
    for weak, strong in combinations(range(len(ladder.tiers)), 2):
        both = [(row[strong], row[weak]) for row in scores if row[strong] is not None and row[weak] is not None]
        pairs = Pairs.of((bool(one) for one, _ in both), (bool(other) for _, other in both))
        if not both:
            continue
        ours, theirs = (sum(bool(row[side]) for row in both) for side in (0, 1))
        share = show_share(ours / pairs.n, wilson(ours, pairs.n))
        text = (
            f"{_where(name)}: {ladder.tiers[strong]} is right in {share} of {pairs.n} cases, the weaker "
            f"{ladder.tiers[weak]} in "
            f"{show_share(theirs / pairs.n)}: its scores are broken, or the tiers are in the wrong order"
        )
        found.append((pairs.p_value if pairs.difference < 0 else 1.0, text))
    return found


def _guessing(
    name: str, scores: Sequence[Sequence[bool | None]], ladder: Ladder, chance: float
) -> list[tuple[float, str]]:
    known = [row[-1] for row in scores if row[-1] is not None]
    if not known:
        return []
    right, n = sum(known), len(known)
    text = (
        f"{_where(name)}: {ladder.tiers[-1]}, the strongest, is right in {show_share(right / n, wilson(right, n))} of "
        f"{n} cases, below the {show_share(chance)} of guessing: its scores are broken"
    )
    return [(binomial_cdf(right, n, chance), text)]


def _wrong_labels(cases: Sequence[GoldenCase], ladder: Ladder, right: Mapping[str, Sequence[bool | None]]) -> list[str]:
    """Labels that the outcomes speak against: the weakest expected tier fails where a stronger one does not."""
    wrong: list[str] = []
    for case in cases:
        scores = right[case.id]
        place = ladder.tiers.index(min(_tiers(case, ladder), key=ladder.rank))
        if scores[place] is False and any(scores[place + 1 :]):
            wrong.append(case.id)
    if not wrong:
        return []
    shown = ", ".join(map(repr, wrong[:_SHOWN])) + (" ..." if len(wrong) > _SHOWN else "")
    what = "cases expect a tier whose answer is wrong, where a stronger one's is right"
    return [f"{len(wrong)} of {len(cases)} {what}: {shown}"]
