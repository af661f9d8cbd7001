"""The router of pytest-modelroute: models and steps in modelroute.toml, a budget of two dollars a day, cooldowns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pytest_modelroute import Settings
from pytest_modelroute.router import BudgetTracker, Cooldown, ModelClient, ModelRouter

SETTINGS = Path(__file__).with_name("modelroute.toml")


def build(key: Callable[[str], str]) -> ModelRouter:
    """A router with the keys that are looked up by the name of a provider."""
    settings = Settings.from_file(SETTINGS)
    client = ModelClient(
        settings, keys={"openai": key("openai"), "anthropic": key("anthropic")}, retries=1, timeout=20, deadline=60
    )
    return ModelRouter(
        settings,
        client=client,
        cooldown=Cooldown(30),
        budget=BudgetTracker(2, timezone="Europe/Zurich"),
        answer_tokens=1024,
    )
