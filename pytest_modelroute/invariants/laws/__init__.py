"""The laws by family; each module registers its own."""

from __future__ import annotations

from importlib import import_module
from typing import Final

FAMILIES: Final = (
    "selection",
    "equivalences",
    "expected",
    "candidates",
    "classification",
    "failover",
    "restraint",
    "patience",
    "resting",
    "streaming",
    "handling",
    "money",
    "budgets",
    "cascades",
    "structure",
)
"The modules, in the order in which laws are shown."


def load() -> None:
    """Import them all."""
    for family in FAMILIES:
        import_module(f"{__name__}.{family}")
