"""
Property-based checks of a user's own router.

The names below are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_modelroute.invariants.harness import RoutingInvariants
    from pytest_modelroute.invariants.laboratory import Providers
    from pytest_modelroute.invariants.promises import AgentPromise, BudgetPromise, Capability, Cascade, Classifier
    from pytest_modelroute.invariants.requests import RoutingRequest
    from pytest_modelroute.invariants.scenes import Act, Ask, Fails, Good, Scene, Script

__all__ = [
    "Act",
    "AgentPromise",
    "Ask",
    "BudgetPromise",
    "Capability",
    "Cascade",
    "Classifier",
    "Fails",
    "Good",
    "Providers",
    "RoutingInvariants",
    "RoutingRequest",
    "Scene",
    "Script",
]

_HOMES = {
    "Act": "scenes",
    "AgentPromise": "promises",
    "Ask": "scenes",
    "BudgetPromise": "promises",
    "Capability": "promises",
    "Cascade": "promises",
    "Classifier": "promises",
    "Fails": "scenes",
    "Good": "scenes",
    "Providers": "laboratory",
    "RoutingInvariants": "harness",
    "RoutingRequest": "requests",
    "Scene": "scenes",
    "Script": "scenes",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
