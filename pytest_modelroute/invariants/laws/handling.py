"""How a router treats what it is given: parameters, keys, the caller's values, its switches, its surroundings."""

from __future__ import annotations

from importlib import import_module
from typing import Final

_LAWS: Final = ("_parameters", "_aliasing", "_opt_outs", "_construction")

for _name in _LAWS:
    import_module(f"pytest_modelroute.invariants.laws.{_name}")
