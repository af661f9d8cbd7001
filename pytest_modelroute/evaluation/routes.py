"""Models, aliases and tiers: which names a model goes by, and which of two routes is the weaker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal, TypeAlias

RouteError: TypeAlias = Literal["under", "over", "other"]
"A wrong route: weaker than expected, stronger than expected, or neither."


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """What the settings say of models; without settings every model is known by its own name alone."""

    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    "Model on the wire -> its aliases."
    tiers: Mapping[str, str] = field(default_factory=dict[str, str])
    "Model on the wire -> its tier."
    order: Sequence[str] = ()
    "The tiers, weakest first."
    helpers: frozenset[str] = frozenset()
    "Models that classify, judge or embed, and so are not the route of a case."

    def names(self, model: str) -> set[str]:
        """Everything that an expected route may call this model."""
        return {model, *self.aliases.get(model, ()), *([self.tiers[model]] if model in self.tiers else [])}

    def rank(self, route: str) -> int | None:
        """The place of a model, alias or tier in the order of tiers; None where that is unknown."""
        tier = route if route in self.order else self.tiers.get(self._model(route))
        return self.order.index(tier) if tier in self.order else None

    def judge(self, model: str | None, expected: Sequence[str]) -> RouteError | None:
        """What is wrong with a route, or None for a right one; a case that reached no model is 'other'."""
        if model is None:
            return "other"
        if self.names(model) & set(expected):
            return None
        rank, ranks = self.rank(model), [self.rank(route) for route in expected]
        known = [entry for entry in ranks if entry is not None]
        if rank is None or len(known) < len(ranks):
            return "other"
        if rank < min(known):
            return "under"
        return "over" if rank > max(known) else "other"

    def tier(self, model: str) -> str:
        """The tier of a model, or the model itself where it has none."""
        return self.tiers.get(model, model)

    def unknown(self, route: str) -> str | None:
        """A hint where the settings declare models and this route is none of them; None where it may be right."""
        if not self.aliases:
            return None
        known = {*self.aliases, *self.order, *(alias for names in self.aliases.values() for alias in names)}
        if route in known:
            return None
        nearest = get_close_matches(route, known, n=1)
        return f"did you mean {nearest[0]!r}?" if nearest else f"known are: {', '.join(sorted(known))}"

    def _model(self, route: str) -> str:
        for model, names in self.aliases.items():
            if route in names:
                return model
        return route
