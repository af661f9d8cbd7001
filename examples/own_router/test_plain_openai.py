"""What the plain function promises."""

from __future__ import annotations

from functools import partial
from typing import Any

from openai import OpenAI
from plain_openai import BACKUPS, MODELS, answer

from pytest_modelroute import RoutingInvariants, RoutingRequest
from pytest_modelroute.invariants import Providers


class TestPlainFunction(RoutingInvariants):
    """A client of its own for each router is all the state that there is."""

    tiers = ("gpt-5-nano", "gpt-5-mini", "gpt-5")
    fallbacks = {model: (backup,) for model, backup in BACKUPS.items()}
    recoverable = {
        "rate_limited",
        "quota_exhausted",
        "overloaded",
        "unavailable",
        "server_error",
        "timeout",
        "connection",
        "not_found",
    }
    retries = 2  # the client's own
    options = ("category",)
    categories = MODELS
    equivalences = ("case", "whitespace")

    def make_router(self, providers: Providers) -> Any:
        """Nothing of it is told where the providers are: its calls are intercepted."""
        return partial(answer, OpenAI())

    def ask(self, router: Any, request: RoutingRequest) -> Any:
        """As the application does."""
        return router(request.prompt, request.category)
