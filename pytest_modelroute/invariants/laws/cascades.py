"""When a cascade goes on to the next tier, what it makes of a confidence, and when a second model is asked."""

from __future__ import annotations

from importlib import import_module
from typing import Final

_LAWS: Final = ("_escalation", "_confidence", "_speculation")

for _name in _LAWS:
    import_module(f"pytest_modelroute.invariants.laws.{_name}")
