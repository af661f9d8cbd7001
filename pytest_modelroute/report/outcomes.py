"""What every model made of the cases of a step, in a line."""

from __future__ import annotations

from pytest_modelroute.evaluation.results import StepEvaluation
from pytest_modelroute.evaluation.tiers import StepOutcomes, Tier
from pytest_modelroute.report.numbers import counted, show_usd


def describe_outcomes(evaluation: StepEvaluation) -> list[str]:
    """The line of the summary; none where no outcomes were recorded."""
    found = evaluation.outcomes
    if found is None:
        return []
    if not found.matrix.outcomes:
        return ["        no outcomes recorded: its cases asked no model"]
    paid = "cost unknown" if found.paid_usd is None else f"{show_usd(found.paid_usd)} USD"
    cases, models = counted(evaluation.n, "case"), counted(len(found.tiers), "model")
    shares = ", ".join(_share(found, tier) for tier in found.tiers)
    return [f"        recorded {cases} on {models}: {shares} right; {paid}"]


def _share(found: StepOutcomes, tier: Tier) -> str:
    judged = found.matrix.judge(found.matrix.always(tier.target.model))
    errors = f" ({counted(judged.errors, 'error')})" if judged.errors else ""
    return f"{tier.alias} {float(judged.accuracy):.2f}{errors}" if judged.accuracy.n else f"{tier.alias} none{errors}"
