"""
Which models their providers withdraw, and when: data, and where it comes from.

genai-prices marks deprecated models of most providers, but none of OpenAI's and Anthropic's; the tables below fill that
gap. They hold what two sources agree on, or the provider says itself, and only for the provider's own platform: Azure,
AWS and Google have dates of their own for the same models.

- OpenAI: https://developers.openai.com/api/docs/deprecations, as it stood, and was quoted by others, in October and
  November 2026.
- Anthropic: the table of models that the official client (anthropic 2.12.0, `resources/messages/messages.py`) warns of;
  claude-opus-4-1 by https://platform.claude.com/docs/en/about-claude/model-deprecations, as quoted in September 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from pytest_modelroute.providers.registry import PROVIDERS, provider_behind

_KNOWN: Final = "2026-11"
"The month of what the tables hold."
_OPENAI: Final[Mapping[str, tuple[str, ...]]] = {
    "2026-10-23": (
        "gpt-3.5-turbo",
        "gpt-3.5-turbo-0125",
        "gpt-4",
        "gpt-4-0613",
        "gpt-4-turbo",
        "gpt-4-turbo-2024-04-09",
        "gpt-4.1-nano",
        "gpt-4.1-nano-2025-04-14",
        "gpt-4o-2024-05-13",
        "o1",
        "o1-2024-12-17",
        "o3-mini",
        "o3-mini-2025-01-31",
        "o4-mini",
        "o4-mini-2025-04-16",
    ),
    "2026-12-11": (
        "gpt-5",
        "gpt-5-2025-08-07",
        "gpt-5-mini",
        "gpt-5-mini-2025-08-07",
        "gpt-5-nano",
        "gpt-5-nano-2025-08-07",
        "gpt-5-pro",
        "gpt-5-pro-2025-10-06",
        "o3",
        "o3-2025-04-16",
        "o3-pro",
        "o3-pro-2025-06-10",
    ),
    "2027-01-14": (
        "gpt-4.1-2025-04-14",
        "gpt-4.1-mini-2025-04-14",
        "gpt-4o-2024-08-06",
        "gpt-4o-2024-11-20",
        "gpt-4o-mini-2024-07-18",
    ),
    "2027-04-01": ("gpt-5.1",),
}
_ANTHROPIC: Final[Mapping[str, tuple[str, ...]]] = {
    "2025-07-21": ("claude-2.0", "claude-2.1", "claude-3-sonnet-20240229"),
    "2026-01-05": ("claude-3-opus-20240229",),
    "2026-02-19": (
        "claude-3-5-haiku-20241022",
        "claude-3-5-haiku-latest",
        "claude-3-7-sonnet-20250219",
        "claude-3-7-sonnet-latest",
    ),
    "2026-06-15": ("claude-opus-4-0", "claude-opus-4-20250514", "claude-sonnet-4-0", "claude-sonnet-4-20250514"),
    "2026-08-05": ("claude-opus-4-1", "claude-opus-4-1-20250805"),
    "2026-11-30": ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deprecation:
    """A model is to be withdrawn, or was."""

    ends: date | None = None
    "The day from which it answers no more; None where the source names none."
    source: str
    "Who says so, and when."


def deprecation_of(provider: str, model: str) -> Deprecation | None:
    """What is known of the withdrawal of a model, where that provider serves it; None for nothing."""
    whose = provider_behind(provider)
    ends = _ENDS.get((whose or "", model))
    if ends is not None:
        return Deprecation(ends=ends, source=f"{_NAMES[whose or '']}'s deprecations, as known in {_KNOWN}")
    return _marked(whose, model) if whose in PROVIDERS else None


def _marked(provider: str | None, model: str) -> Deprecation | None:
    from importlib.metadata import version

    from genai_prices import Usage, calc_price

    try:
        marked = calc_price(Usage(input_tokens=1), model, provider_id=provider).model.deprecated
    except LookupError:
        return None
    return Deprecation(source=f"genai-prices {version('genai-prices')}") if marked else None


_NAMES: Final[Mapping[str, str]] = {"openai": "OpenAI", "anthropic": "Anthropic"}
_ENDS: Final[Mapping[tuple[str, str], date]] = {
    (provider, model): date.fromisoformat(day)
    for provider, days in (("openai", _OPENAI), ("anthropic", _ANTHROPIC))
    for day, models in days.items()
    for model in models
}
