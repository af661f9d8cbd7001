"""Scenarios: a router is led through a story, and every step of it is judged by what the router promises."""

from pytest_modelroute.scenarios.budget import BudgetScenario, BudgetScenarios
from pytest_modelroute.scenarios.stock import BUDGET_SCENARIOS
from pytest_modelroute.scenarios.timeline import Entry, Timeline

__all__ = ["BUDGET_SCENARIOS", "BudgetScenario", "BudgetScenarios", "Entry", "Timeline"]
