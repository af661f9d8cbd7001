"""What anybody gets without a router: one tier for all, a lot, and the number of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_modelroute.evaluation.golden_cases import GoldenCase, Ladder
from pytest_modelroute.evaluation.golden_runs import Took

WORD_COUNT = "word count"
RANDOM = "random"


def always(cases: Sequence[GoldenCase], model: str) -> Mapping[str, Took]:
    """Every case to one model."""
    return {case.id: Took(model=model) for case in cases}


def by_words(cases: Sequence[GoldenCase], ladder: Ladder) -> Mapping[str, Took]:
    """
    The longer a case, the stronger its tier; as many cases to each tier as are expected there.

    The rule knows how many cases each tier should get and nothing of which. A threshold that fits the labels best would
    be measured on the cases it was fitted to, and one fitted to all cases but the one it judges does worse than a coin
    where words say nothing and the tiers are balanced: without the case, its own tier is the rarer one. Equal numbers
    of words are told apart by characters, then by the id, so that the order of the cases does not count. A case that
    may take several tiers counts for the weakest.
    """
    sizes = [0] * len(ladder.tiers)
    for case in cases:
        weakest = ladder.model(min(case.expected, key=ladder.rank))
        sizes[ladder.tiers.index(ladder.routes.tiers[weakest])] += 1
    ordered = sorted(cases, key=lambda case: (case.words, len(case.text), case.id))
    models = [model for model, size in zip(ladder.models, sizes, strict=True) for _ in range(size)]
    return {case.id: Took(model=model) for case, model in zip(ordered, models, strict=True)}
