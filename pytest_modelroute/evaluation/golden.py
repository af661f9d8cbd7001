"""Golden routes: cases whose right route is known, beside the routes a router takes and those anybody could take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from pytest_modelroute.errors import EvaluationError
from pytest_modelroute.evaluation.cases import Cases
from pytest_modelroute.evaluation.golden_baselines import RANDOM, WORD_COUNT, always, by_words
from pytest_modelroute.evaluation.golden_cases import GoldenCase, Ladder, read_golden
from pytest_modelroute.evaluation.golden_findings import (
    Comparison,
    Finding,
    compare,
    findings_of,
    slice_findings,
)
from pytest_modelroute.evaluation.golden_labels import Chance, doubts_of_labels, doubts_of_outcomes, slices_of
from pytest_modelroute.evaluation.golden_runs import Prices, Routed, Ruler, Run, Tally, Took, measure_by
from pytest_modelroute.evaluation.outcomes import OutcomeMatrix
from pytest_modelroute.evaluation.routes import Routes
from pytest_modelroute.evaluation.statistics import Rate

OUTPUT_TOKENS: Final = 256
"Of an answer, where costs are estimated from prices."
Taken: TypeAlias = Mapping[str, Took | str | None] | Callable[[Any], Took | str | None]
"The route of each case by its id; or what gives the route for the inputs of a case."


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The router and its baselines on all cases, or on those of a slice."""

    name: str | None
    "The slice; None for all cases."
    router: Tally
    baselines: Sequence[Tally]
    "One for each tier, weakest first, then word count, then random."

    def baseline(self, name: str) -> Tally:
        """
        A baseline by its name.

        Raises:
            EvaluationError: There is none of that name.

        """
        for tally in self.baselines:
            if tally.name == name:
                return tally
        raise EvaluationError(
            f"there is no baseline {name!r}; there are: {', '.join(tally.name for tally in self.baselines)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenReport:
    """Where a router sends golden cases, what it gets wrong and at which price, and what others would get."""

    tiers: Sequence[str]
    "Weakest first."
    whole: Part
    slices: Sequence[Part]
    routed: Sequence[Routed]
    "Each case with the route it took, in the order of the cases."
    comparisons: Sequence[Comparison]
    "The router beside each baseline, on all cases: in agreement, and in right answers where they were measured."
    findings: Sequence[Finding]
    "What the comparison shows, worst first; the inconclusive ones last."
    warnings: Sequence[str]
    "Why the labels may not be trusted."
    basis: str
    "Where costs come from."

    @property
    def n(self) -> int:
        """How many cases."""
        return self.whole.router.n

    @property
    def agreement(self) -> Rate:
        """The share of cases that take an expected route, with its interval."""
        return Rate(int(self.whole.router.right), self.n)

    @property
    def misroutes(self) -> Sequence[Routed]:
        """The cases that take another route than expected, the under-routed ones first."""
        wrong = [each for each in self.routed if each.error is not None]
        return sorted(wrong, key=lambda each: ("under", "over", "other").index(each.error or "other"))


def golden_report(
    cases: Cases | Sequence[GoldenCase],
    route: Taken,
    *,
    tiers: Routes | Sequence[str],
    prices: Prices | None = None,
    outcomes: OutcomeMatrix | None = None,
    output_tokens: int = OUTPUT_TOKENS,
    chance: Chance = None,
    folders: Sequence[Path] = (),
) -> GoldenReport:
    """
    Compare the routes of golden cases with those expected, and with those of simple baselines.

    Args:
        cases: A case file, or cases, each with an `expected_route`; or what `read_golden` returned.
        route: The route of each case by its id (a model, alias or tier; None where no model answered; a `Took` with
            what finding it cost), or a function from a case's inputs to its route.
        tiers: Models as asked for on the wire, weakest first; or the `Routes` of the settings.
        prices: What costs are estimated from: four characters of input a token, and `output_tokens`.
        outcomes: What every model made of every case, of one step: it then gives costs, seconds and right answers, and
            prices are not used. Leave overhead out of `Took` where the outcomes hold it.
        output_tokens: Of a typical answer.
        chance: The share that guessing gets right, for all cases or by slice: a strongest model below it is reported.
        folders: Where a relative path of cases is looked for.

    Raises:
        CasesError: As `read_golden`.
        EvaluationError: Tiers, routes or `chance` cannot be used; the outcomes lack a case or a model.
        PriceUnknown: A model has no price.

    """
    ladder = Ladder.of(tiers)
    golden = _read(cases, ladder, folders)
    if output_tokens < 0:
        raise EvaluationError(f"output_tokens={output_tokens}: an answer has no fewer tokens than 0")
    measure = measure_by(outcomes, prices, output_tokens)
    runs = _runs(golden, _taken(golden, route), Ruler(ladder=ladder, measure=measure))
    whole = _part(None, runs)
    parts = {name: runs.within(part) for name, part in slices_of(golden).items()}
    compared = runs.compare("agreement") + runs.compare("right answers")
    by_slice = [(name, each) for name, part in parts.items() for each in part.compare("agreement")]
    tallies = (whole.router, *whole.baselines)
    warnings = doubts_of_labels(golden, ladder)
    if outcomes is not None:
        warnings += doubts_of_outcomes(golden, ladder, measure, chance)
    return GoldenReport(
        tiers=ladder.tiers,
        whole=whole,
        slices=[_part(name, part) for name, part in parts.items()],
        routed=runs.router.routed,
        comparisons=compared,
        findings=_join(findings_of(runs.router, runs.fixed, tallies, compared), slice_findings(by_slice)),
        warnings=warnings,
        basis=_basis(outcomes, prices, output_tokens),
    )


def _read(cases: Cases | Sequence[GoldenCase], ladder: Ladder, folders: Sequence[Path]) -> tuple[GoldenCase, ...]:
    if isinstance(cases, Sequence) and cases and all(isinstance(case, GoldenCase) for case in cases):
        return tuple(cast("Sequence[GoldenCase]", cases))
    return read_golden(cast("Cases", cases), tiers=ladder, folders=folders)


def _join(whole: Sequence[Finding], slices: Sequence[Finding]) -> list[Finding]:
    """What is sure comes first."""
    sure = [each for each in whole if each.kind != "inconclusive"]
    return [*sure, *slices, *(each for each in whole if each.kind == "inconclusive")]


def _basis(outcomes: OutcomeMatrix | None, prices: Prices | None, output_tokens: int) -> str:
    if outcomes is not None:
        return "costs, seconds and right answers as measured"
    if prices is not None:
        return f"costs estimated: 4 characters of input a token, {output_tokens} tokens of output"
    return "costs unknown: give prices= or outcomes="


def _taken(cases: Sequence[GoldenCase], route: Taken) -> Mapping[str, Took]:
    if not isinstance(route, Mapping):
        return {case.id: _took(case.id, route(case.inputs)) for case in cases}
    given = cast("Mapping[str, Any]", route)
    ids = [case.id for case in cases]
    missing = [name for name in ids if name not in given]
    if missing:
        raise EvaluationError(
            f"{len(missing)} of {len(ids)} cases have no route, the first {missing[0]!r}; None stands for a case that "
            "no model answered"
        )
    known = set(ids)
    for name in given:
        if name not in known:
            nearest = get_close_matches(str(name), ids, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise EvaluationError(f"there is a route for the case {name!r}, and no such case{hint}")
    return {name: _took(name, given[name]) for name in ids}


def _took(name: str, taken: object) -> Took:
    if isinstance(taken, Took):
        return taken
    if taken is None or (isinstance(taken, str) and taken):
        return Took(model=taken)
    if hasattr(taken, "close") and hasattr(taken, "__await__"):
        cast("Any", taken).close()  # else Python warns that nobody awaited it
        raise EvaluationError("route= is async; await the routes first, and give them by case id: {id: model}")
    raise EvaluationError(
        f"the route of the case {name!r} is a model, an alias or a tier, or None where no model answered, not {taken!r}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Runs:
    """The router's routes and those of the baselines, on the same cases."""

    router: Run
    tiers: Sequence[Run]
    words: Run

    @property
    def fixed(self) -> Sequence[Run]:
        return (*self.tiers, self.words)

    def within(self, cases: Sequence[GoldenCase]) -> _Runs:
        return _Runs(
            router=self.router.within(cases),
            tiers=[run.within(cases) for run in self.tiers],
            words=self.words.within(cases),
        )

    def compare(self, measure: Any) -> list[Comparison]:
        return compare(self.router, self.fixed, self.tiers, measure)


def _runs(cases: Sequence[GoldenCase], taken: Mapping[str, Took], ruler: Ruler) -> _Runs:
    ladder = ruler.ladder
    return _Runs(
        router=Run.of("router", taken, cases, ruler),
        tiers=[
            Run.of(ladder.always(place), always(cases, model), cases, ruler)
            for place, model in enumerate(ladder.models)
        ],
        words=Run.of(WORD_COUNT, by_words(cases, ladder), cases, ruler),
    )


def _part(name: str | None, runs: _Runs) -> Part:
    tiers = [Tally.of(run) for run in runs.tiers]
    return Part(
        name=name,
        router=Tally.of(runs.router),
        baselines=[*tiers, Tally.of(runs.words), Tally.of_a_lot(RANDOM, tiers)],
    )
