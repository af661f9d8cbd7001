"""Golden routes as people read them: the verdict first, then the evidence, then what may be wrong with the labels."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from pytest_modelroute.evaluation.golden import GoldenReport, Part
from pytest_modelroute.evaluation.golden_findings import show_share
from pytest_modelroute.evaluation.golden_runs import Routed, Tally
from pytest_modelroute.evaluation.statistics import wilson
from pytest_modelroute.report.numbers import short, show_usd, table

_MISROUTES: Final = 5
"Cases shown of each kind."
_HEADINGS: Final = ("", "agree", "95%", "under", "over", "other", "right", "USD", "s")


def golden_text(report: GoldenReport) -> str:
    """The whole report as text."""
    return "\n".join(golden_lines(report))


def golden_verdict(report: GoldenReport) -> str:
    """One line: how many cases take their route, and the worst that the comparison shows."""
    wrong = report.n - report.agreement.count
    share = show_share(report.agreement, report.agreement.interval)
    head = "every case takes" if not wrong else f"{report.agreement.count} of {report.n} cases take"
    verdict = f"golden routes: {head} an expected route, {share}"
    sure = list(dict.fromkeys(_claim(each.text) for each in report.findings if each.kind != "inconclusive"))
    return f"{verdict}; {', '.join(sure[:3])}{' ...' if len(sure) > 3 else ''}" if sure else verdict  # noqa: PLR2004


def _claim(text: str) -> str:
    return text.partition(":")[0]


def golden_lines(report: GoldenReport) -> list[str]:
    """The report, line by line; the first is the verdict."""
    router = report.whole.router
    lines = [golden_verdict(report), f"  {_under(router)}", f"  {_over(router)}"]
    if router.other:
        lines.append(f"  no model answered, or one without a tier: {_share(router.other, router.n)}")
    lines += _found(report)
    lines += [f"  doubtful labels: {warning}" for warning in report.warnings]
    lines += ["", *table(_rows(report.whole)), *(f"  {line}" for line in _legend(report))]
    if report.slices:
        lines += ["", *table([("slice", "n", *_HEADINGS[1:6], "best baseline"), *map(_slice, report.slices)])]
    return [*lines, *_misroutes(report.misroutes)]


def _found(report: GoldenReport) -> list[str]:
    """Each finding on a line, and all that is inconclusive in one."""
    lines = [
        f"  {each.text}" if each.slice is None else f"  in the slice {each.slice!r} {each.text}"
        for each in report.findings
        if each.kind != "inconclusive"
    ]
    burdens = [each for each in report.findings if each.kind == "inconclusive" and each.is_burden]
    lines += [f"  inconclusive: {each.text}" for each in burdens]
    for measure in dict.fromkeys(each.measure for each in report.findings):
        plain = [
            f"{each.against} (about {each.needed})"
            for each in report.findings
            if each.kind == "inconclusive" and each.measure == measure and not each.is_burden
        ]
        if plain:
            lines.append(f"  inconclusive in {measure}: n={report.n}, needs more cases against {', '.join(plain)}")
    return lines


def _legend(report: GoldenReport) -> list[str]:
    """Where the numbers come from, and which tiers the baselines stand for, where their names do not say it."""
    names = [tally.name for tally in report.whole.baselines[: len(report.tiers)]]
    behind = [f"{name} is {tier}" for name, tier in zip(names, report.tiers, strict=True) if name != f"always-{tier}"]
    return [*([", ".join(behind)] if behind else []), report.basis]


def _under(tally: Tally) -> str:
    saved = _money(tally.saved_usd, "saved", "spent more, since the weaker routes are dearer")
    return f"under-routed: {_share(tally.under, tally.n)}{saved if tally.under else ''}"


def _over(tally: Tally) -> str:
    spent = _money(tally.over_usd, "more than the expected routes", "saved, since the stronger routes are cheaper")
    return f"over-routed: {_share(tally.over, tally.n)}{spent if tally.over else ''}"


def _share(count: float, n: int) -> str:
    return f"{int(count)} of {n}, {show_share(count / n, wilson(int(count), n))}"


def _money(amount: Decimal | None, more: str, less: str) -> str:
    if amount is None:
        return "; their cost is unknown"
    return f"; {show_usd(abs(amount))} USD {more if amount >= 0 else less}"


def _rows(part: Part) -> list[tuple[str, ...]]:
    return [_HEADINGS, *(_row(tally) for tally in (part.router, *part.baselines))]


def _row(tally: Tally) -> tuple[str, ...]:
    interval = "" if tally.interval is None else show_share(tally.agreement, tally.interval).partition(" ")[2]
    return (
        tally.name,
        show_share(tally.agreement),
        interval,
        *(_count(count) for count in (tally.under, tally.over)),
        _count(tally.other) if tally.other else "",
        "" if tally.accuracy is None else show_share(tally.accuracy),
        "" if tally.cost_usd is None else show_usd(tally.cost_usd),
        "" if tally.latency_s is None else f"{tally.latency_s:.3g}",
    )


def _count(count: float) -> str:
    return str(int(count)) if count == int(count) else f"{count:.1f}"


def _slice(part: Part) -> tuple[str, ...]:
    best = max(part.baselines, key=lambda tally: tally.agreement)
    row = _row(part.router)
    return str(part.name), str(part.router.n), *row[1:6], f"{best.name} {show_share(best.agreement)}"


def _misroutes(misroutes: Sequence[Routed]) -> list[str]:
    if not misroutes:
        return []
    lines = ["", "  misrouted:"]
    for kind in ("under", "over", "other"):
        found = [each for each in misroutes if each.error == kind]
        lines += [f"    {_misroute(each)}" for each in found[:_MISROUTES]]
        if len(found) > _MISROUTES:
            lines.append(f"    ... {len(found) - _MISROUTES} more ({kind})")
    return lines


def _misroute(each: Routed) -> str:
    went = "no model answered" if each.model is None else f"took {each.model} ({each.error})"
    return f"{each.case.id}: expected {' or '.join(each.case.expected)}, {went}: {short(each.case.text)!r}"


def golden_markdown(report: GoldenReport) -> str:
    """The report in Markdown: the verdict, what was found, and a table of the router beside its baselines."""
    lines = [f"**{_escape(golden_verdict(report))}**", ""]
    lines += [f"- {_escape(line.strip())}" for line in (_under(report.whole.router), _over(report.whole.router))]
    lines += [f"- {_escape(line.strip())}" for line in _found(report)]
    lines += [f"- doubtful labels: {_escape(warning)}" for warning in report.warnings]
    lines += ["", *_markdown_table(_rows(report.whole)), "", "; ".join(map(_escape, _legend(report)))]
    if report.slices:
        rows = [("slice", "n", *_HEADINGS[1:6], "best baseline"), *map(_slice, report.slices)]
        lines += ["", *_markdown_table(rows)]
    return "\n".join(lines) + "\n"


def _markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    used = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:])]
    lines = [f"| {' | '.join(_escape(row[column]) for column in used)} |" for row in rows]
    rule = f"|{'|'.join(' --- ' if place == 0 else ' ---: ' for place in range(len(used)))}|"
    return [lines[0], rule, *lines[1:]]


def _escape(text: str) -> str:
    """As it stands, where it would be read as a cell's end, as emphasis or as a link."""
    for sign in "\\|*_[]<>`":
        text = text.replace(sign, f"\\{sign}")
    return text
