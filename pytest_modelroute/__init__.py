"""
Regression tests for model routing, as a pytest plugin.

The names below are loaded when they are first used: importing the package costs nothing.
PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_modelroute.config import ModelSettings, Settings, StepSettings
    from pytest_modelroute.evaluation.break_even import break_even
    from pytest_modelroute.evaluation.cascade_costs import BreakEven, MeasuredTier
    from pytest_modelroute.evaluation.cases import Case, load_cases
    from pytest_modelroute.evaluation.evaluate import StepEvaluator
    from pytest_modelroute.evaluation.golden import GoldenReport, golden_report
    from pytest_modelroute.evaluation.golden_runs import Took
    from pytest_modelroute.evaluation.results import CaseResult, StepEvaluation
    from pytest_modelroute.evaluation.scorers import contains, exact_match, json_equal, numeric, regex
    from pytest_modelroute.evaluation.statistics import Rate
    from pytest_modelroute.invariants.harness import RoutingInvariants
    from pytest_modelroute.invariants.promises import AgentPromise, BudgetPromise, Capability, Cascade, Classifier
    from pytest_modelroute.invariants.requests import RoutingRequest
    from pytest_modelroute.providers.exchange import ProviderReply as Reply
    from pytest_modelroute.providers.exchange import ToolCall, Usage
    from pytest_modelroute.providers.prices import Price, PriceBook
    from pytest_modelroute.report.golden import golden_text
    from pytest_modelroute.wire.call_log import CallLog, ProviderCall
    from pytest_modelroute.wire.scripted import MockProviders
    from pytest_modelroute.wire.virtual_time import VirtualTime

__all__ = [
    "AgentPromise",
    "BreakEven",
    "BudgetPromise",
    "CallLog",
    "Capability",
    "Cascade",
    "Case",
    "CaseResult",
    "Classifier",
    "GoldenReport",
    "MeasuredTier",
    "MockProviders",
    "ModelSettings",
    "Price",
    "PriceBook",
    "ProviderCall",
    "Rate",
    "Reply",
    "RoutingInvariants",
    "RoutingRequest",
    "Settings",
    "StepEvaluation",
    "StepEvaluator",
    "StepSettings",
    "Took",
    "ToolCall",
    "Usage",
    "VirtualTime",
    "break_even",
    "contains",
    "exact_match",
    "golden_report",
    "golden_text",
    "json_equal",
    "load_cases",
    "numeric",
    "regex",
]

_HOMES = {
    "AgentPromise": "invariants.promises",
    "BreakEven": "evaluation.cascade_costs",
    "BudgetPromise": "invariants.promises",
    "CallLog": "wire.call_log",
    "Capability": "invariants.promises",
    "Cascade": "invariants.promises",
    "Case": "evaluation.cases",
    "CaseResult": "evaluation.results",
    "Classifier": "invariants.promises",
    "GoldenReport": "evaluation.golden",
    "MeasuredTier": "evaluation.cascade_costs",
    "MockProviders": "wire.scripted",
    "ModelSettings": "config",
    "Price": "providers.prices",
    "PriceBook": "providers.prices",
    "ProviderCall": "wire.call_log",
    "Rate": "evaluation.statistics",
    "Reply": "providers.exchange",
    "RoutingInvariants": "invariants.harness",
    "RoutingRequest": "invariants.requests",
    "Settings": "config",
    "StepEvaluation": "evaluation.results",
    "StepEvaluator": "evaluation.evaluate",
    "StepSettings": "config",
    "Took": "evaluation.golden_runs",
    "ToolCall": "providers.exchange",
    "Usage": "providers.exchange",
    "VirtualTime": "wire.virtual_time",
    "break_even": "evaluation.break_even",
    "contains": "evaluation.scorers",
    "exact_match": "evaluation.scorers",
    "golden_report": "evaluation.golden",
    "golden_text": "report.golden",
    "json_equal": "evaluation.scorers",
    "load_cases": "evaluation.cases",
    "numeric": "evaluation.scorers",
    "regex": "evaluation.scorers",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its home; `__version__` from the installed distribution."""
    if name == "__version__":
        from importlib.metadata import version

        return version("pytest-modelroute")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f"{__name__}.{_HOMES[name]}")
    return getattr(home, "ProviderReply" if name == "Reply" else name)
