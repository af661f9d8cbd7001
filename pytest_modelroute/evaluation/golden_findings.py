"""What the comparison of a router with its baselines shows, with the evidence; and where there is too little of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from pytest_modelroute.evaluation.golden_baselines import RANDOM
from pytest_modelroute.evaluation.golden_runs import Routed, Run, Tally
from pytest_modelroute.evaluation.paired import Pairs, chance_p_value, holm
from pytest_modelroute.evaluation.statistics import Interval, mean_interval, wilson

LEVEL: Final = 0.05
"Of false alarms, over all comparisons of one measure."
MARGIN: Final = 0.05
"A difference in shares, or in cost or seconds relative to the baseline's, that matters."
MeasureName: TypeAlias = Literal["agreement", "right answers"]
Standing: TypeAlias = Literal["better", "beaten", "no better", "open"]
FindingKind: TypeAlias = Literal["beaten", "no better", "dearer", "slower", "slower and dearer", "inconclusive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The router beside one baseline, in one measure."""

    against: str
    measure: MeasureName
    ours: float
    "The router's share."
    theirs: float
    interval: Interval
    "Of the router's share."
    difference: Interval
    "Of its share less the baseline's, paired by case."
    p_value: float
    "Adjusted for all comparisons of the measure."
    n: int
    needed: int
    "About how many cases would settle it."
    same: bool
    "Whether the two take the same routes in all cases."

    @property
    def standing(self) -> Standing:
        """Better or beaten with significance; no better where an advantage that matters is ruled out; else open."""
        if self.p_value < LEVEL:
            return "better" if self.ours > self.theirs else "beaten"
        return "no better" if self.difference.high < MARGIN else "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that the comparison shows."""

    kind: FindingKind
    against: str
    "The baseline."
    measure: MeasureName
    text: str
    "In words, with numbers."
    slice: str | None = None
    "The slice it is about; None for all cases."
    needed: int | None = None
    "About how many cases would settle what is inconclusive."
    is_burden: bool = False
    "Whether it is about money or seconds."


def compare(router: Run, baselines: Sequence[Run], lots: Sequence[Run], measure: MeasureName) -> list[Comparison]:
    """
    The router beside each baseline, and beside a lot drawn among `lots`, in one measure.

    Nothing where the measure was not taken in any case.
    """
    values = [_values(run, measure) for run in (router, *baselines)]
    found = [_pair(router, run, values[0], theirs, measure) for run, theirs in zip(baselines, values[1:], strict=True)]
    found.append(_lot(values[0], [_values(run, measure) for run in lots], measure))
    known = [each for each in found if each is not None]
    adjusted = holm([each.p_value for each in known])
    return [replace(each, p_value=p) for each, p in zip(known, adjusted, strict=True)]


def _values(run: Run, measure: MeasureName) -> list[bool | None]:
    return [each.error is None if measure == "agreement" else each.worth.right for each in run.routed]


def _pair(
    router: Run, run: Run, ours: Sequence[bool | None], theirs: Sequence[bool | None], measure: MeasureName
) -> Comparison | None:
    both = [(one, other) for one, other in zip(ours, theirs, strict=True) if one is not None and other is not None]
    if not both:
        return None
    pairs = Pairs.of((one for one, _ in both), (other for _, other in both))
    right = sum(one for one, _ in both)
    return Comparison(
        against=run.name,
        measure=measure,
        ours=right / pairs.n,
        theirs=sum(other for _, other in both) / pairs.n,
        interval=wilson(right, pairs.n),
        difference=pairs.interval,
        p_value=pairs.p_value,
        n=pairs.n,
        needed=pairs.cases_needed(MARGIN),
        same=[each.model for each in router.routed] == [each.model for each in run.routed],
    )


def _lot(
    ours: Sequence[bool | None], everyone: Sequence[Sequence[bool | None]], measure: MeasureName
) -> Comparison | None:
    """The lot is known exactly: the chance of a hit in each case is the share of the tiers that hit."""
    hits: list[bool] = []
    shares: list[float] = []
    for one, others in zip(ours, zip(*everyone, strict=True), strict=True):
        known = [other for other in others if other is not None]
        if one is not None and known:
            hits.append(one)
            shares.append(sum(known) / len(known))
    if not hits:
        return None
    n, right, expected = len(hits), sum(hits), math.fsum(shares) / len(hits)
    low, high = interval = wilson(right, n)
    # A pair for each case, as often apart as chance has it, tells how many cases it takes.
    gains = round(math.fsum((1 - share) for hit, share in zip(hits, shares, strict=True) if hit))
    losses = round(math.fsum(share for hit, share in zip(hits, shares, strict=True) if not hit))
    return Comparison(
        against=RANDOM,
        measure=measure,
        ours=right / n,
        theirs=expected,
        interval=interval,
        difference=Interval(low - expected, high - expected),
        p_value=chance_p_value(right, shares),
        n=n,
        needed=Pairs(gains, losses, n).cases_needed(MARGIN),
        same=False,
    )


def findings_of(
    router: Run, baselines: Sequence[Run], tallies: Sequence[Tally], comparisons: Sequence[Comparison]
) -> list[Finding]:
    """
    What there is to say of all cases.

    A better baseline in agreement is a finding at any price: the labels say which route is right. In right answers one
    is only where it is no dearer, since a router that is cheaper and a little worse may be what is wanted. Dearer or
    slower than a single tier is a finding where that buys nothing: in right answers, where they were measured, else in
    agreement.

    Args:
        router: The router's routes.
        baselines: Those of the fixed baselines.
        tallies: The sums of the router, and then of every baseline.
        comparisons: Of both measures.

    """
    found: list[Finding] = []
    mine, costs = tallies[0], {tally.name: tally.cost_usd for tally in tallies[1:]}
    for each in comparisons:
        if each.measure == "agreement" or _no_dearer(costs[each.against], mine.cost_usd):
            found.extend(_standing(each))
    measure = "right answers" if any(each.measure == "right answers" for each in comparisons) else "agreement"
    by_name = {each.against: each for each in comparisons if each.measure == measure}
    for run in baselines:
        comparison = by_name.get(run.name)
        if comparison is not None and comparison.standing != "better":
            found.extend(_burden(router, run, comparison))
    said = {each.against for each in found if each.kind == "inconclusive" and each.is_burden}
    kept = [each for each in found if each.is_burden or each.kind != "inconclusive" or each.against not in said]
    return sorted(kept, key=lambda each: _ORDER.index(each.kind))


_ORDER: Final[Sequence[FindingKind]] = ("beaten", "slower and dearer", "dearer", "slower", "no better", "inconclusive")


def slice_findings(comparisons: Sequence[tuple[str, Comparison]]) -> list[Finding]:
    """The best baseline that beats the router in a slice, each; adjusted once more, for all slices together."""
    adjusted = holm([each.p_value for _, each in comparisons])
    best: dict[str, Comparison] = {}
    for (name, each), p in zip(comparisons, adjusted, strict=True):
        sure = replace(each, p_value=p)
        if sure.standing == "beaten" and (name not in best or best[name].theirs < sure.theirs):
            best[name] = sure
    return [replace(finding, slice=name) for name, each in best.items() for finding in _standing(each)]


def _no_dearer(theirs: Decimal | None, ours: Decimal | None) -> bool:
    return theirs is not None and ours is not None and theirs <= ours


def _standing(each: Comparison) -> list[Finding]:
    if each.standing == "better":
        return []
    about = f"{show_share(each.ours, each.interval)} against {show_share(each.theirs)} in {each.measure}"
    apart = f"difference {_signed(each.difference)}"
    if each.standing == "beaten":
        text = f"beaten by {each.against}: {about} ({_p(each.p_value)}, n={each.n})"
        return [Finding(kind="beaten", against=each.against, measure=each.measure, text=text)]
    if each.standing == "no better":
        same = f", the same route in all {each.n} cases" if each.same else ""
        text = f"no better than {each.against}: {about} ({apart}, n={each.n}{same})"
        return [Finding(kind="no better", against=each.against, measure=each.measure, text=text)]
    text = f"inconclusive against {each.against}: {about} ({apart}; n={each.n}, needs about {each.needed})"
    return [Finding(kind="inconclusive", against=each.against, measure=each.measure, text=text, needed=each.needed)]


def _burden(router: Run, run: Run, comparison: Comparison) -> list[Finding]:
    """What the router costs more than a baseline, in money and seconds, for nothing."""
    pairs = list(zip(router.routed, run.routed, strict=True))
    money = _more(_costs(pairs), "USD")
    time = _more(_seconds(pairs), "s")
    what = " and ".join(name for name, more in (("slower", time), ("dearer", money)) if more)
    if not what:
        return []
    numbers = "; ".join(more for more in (time, money) if more)
    about = f"{show_share(comparison.ours)} against {show_share(comparison.theirs)} in {comparison.measure}"
    open_ = comparison.standing == "open"
    end = (
        f"whether that buys anything is open: {about} (n={comparison.n}, needs about {comparison.needed})"
        if open_
        else f"and no better: {about}"
    )
    text = f"{what} than {run.name}: {numbers}; {end}"
    kinds: dict[str, FindingKind] = {"slower": "slower", "dearer": "dearer"}
    return [
        Finding(
            kind="inconclusive" if open_ else kinds.get(what, "slower and dearer"),
            against=run.name,
            measure=comparison.measure,
            text=text,
            needed=comparison.needed if open_ else None,
            is_burden=True,
        )
    ]


def _costs(pairs: Iterable[tuple[Routed, Routed]]) -> list[tuple[float, float]]:
    costs = [(one.worth.cost_usd, other.worth.cost_usd) for one, other in pairs]
    return [(float(ours), float(theirs)) for ours, theirs in costs if ours is not None and theirs is not None]


def _seconds(pairs: Iterable[tuple[Routed, Routed]]) -> list[tuple[float, float]]:
    seconds = [(one.worth.latency_s, other.worth.latency_s) for one, other in pairs]
    return [(ours, theirs) for ours, theirs in seconds if ours is not None and theirs is not None]


def _more(pairs: Sequence[tuple[float, float]], unit: str) -> str:
    """In words how much more the first of each pair is than the second; empty where it is not, beyond doubt."""
    if len(pairs) < 2:  # noqa: PLR2004 - one case shows no spread
        return ""
    ours, theirs = (math.fsum(pair[side] for pair in pairs) / len(pairs) for side in (0, 1))
    low, high = mean_interval([one - other for one, other in pairs])
    if low <= MARGIN * theirs:
        return ""
    return f"{_plain(ours)} {unit} a case against {_plain(theirs)} (+{_plain(low)} to +{_plain(high)})"


def _plain(number: float) -> str:
    """Three digits that count, never in scientific notation."""
    return format(Decimal(f"{number:.3g}"), "f")


def show_share(share: float, interval: Interval | None = None) -> str:
    """A share in two digits, with its interval: .62 [.55, .69]."""
    ends = "" if interval is None else f" [{_two(interval.low)}, {_two(interval.high)}]"
    return f"{_two(share)}{ends}"


def _two(share: float) -> str:
    text = f"{share:.2f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _signed(interval: Interval) -> str:
    low, high = (("+" if end > 0 else "") + _two(end) for end in interval)
    return f"[{low}, {high}]"


def _p(p_value: float) -> str:
    return f"p={p_value:.2g}" if p_value >= 0.001 else "p<.001"  # noqa: PLR2004 - smaller ones are no surer
