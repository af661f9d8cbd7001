"""A compact router: the subject of this project's own tests and examples, and a start for newcomers."""

from pytest_modelroute.providers.failures import RECOVERABLE
from pytest_modelroute.router.agents import Agent, Coordinator, CoordinatorResult, SubTask
from pytest_modelroute.router.budget import BudgetTracker
from pytest_modelroute.router.calls import RequestContext
from pytest_modelroute.router.classifier import Classifier, LLMClassifier
from pytest_modelroute.router.client import ModelClient
from pytest_modelroute.router.confidence import ConfidenceGate, SelfReport, read_confidence
from pytest_modelroute.router.cooldown import Cooldown
from pytest_modelroute.router.estimates import Estimate
from pytest_modelroute.router.fallbacks import FallbackChain
from pytest_modelroute.router.gates import Gate, Ruling, verified_by
from pytest_modelroute.router.heuristic import HeuristicClassifier
from pytest_modelroute.router.metrics import RouteRecord, RoutingMetrics, TierTry
from pytest_modelroute.router.requests import ModelRequest, ModelResponse
from pytest_modelroute.router.router import ModelRouter
from pytest_modelroute.router.streaming import AsyncStreamedResponse, StreamedResponse
from pytest_modelroute.router.tools import FunctionTool
from pytest_modelroute.router.verifiers import (
    JudgeGate,
    follows_schema,
    has_length,
    matches,
    parses_as_json,
    parses_as_sql,
)
from pytest_modelroute.router.workflow import Step, Workflow, WorkflowResult

__all__ = [
    "RECOVERABLE",
    "Agent",
    "AsyncStreamedResponse",
    "BudgetTracker",
    "Classifier",
    "ConfidenceGate",
    "Cooldown",
    "Coordinator",
    "CoordinatorResult",
    "Estimate",
    "FallbackChain",
    "FunctionTool",
    "Gate",
    "HeuristicClassifier",
    "JudgeGate",
    "LLMClassifier",
    "ModelClient",
    "ModelRequest",
    "ModelResponse",
    "ModelRouter",
    "RequestContext",
    "RouteRecord",
    "RoutingMetrics",
    "Ruling",
    "SelfReport",
    "Step",
    "StreamedResponse",
    "SubTask",
    "TierTry",
    "Workflow",
    "WorkflowResult",
    "follows_schema",
    "has_length",
    "matches",
    "parses_as_json",
    "parses_as_sql",
    "read_confidence",
    "verified_by",
]
