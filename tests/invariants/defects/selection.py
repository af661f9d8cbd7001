"""One realistic defect for each class: which model a request goes to."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import Any

from pytest_modelroute.invariants import Capability, RoutingInvariants
from tests.invariants.balanced_router import BalancedRouter, CorrectBalanced
from tests.invariants.capable_router import CHAINS, CapableRouter, CorrectCapable
from tests.invariants.correct import Correct
from tests.invariants.correct_heuristic import GOLDEN, CorrectForgiving, CorrectHeuristic
from tests.invariants.heuristic_router import ForgivingRouter, HeuristicRouter
from tests.invariants.support_router import LABELS, SupportRouter


class CaseSensitiveRouter(HeuristicRouter):
    def normal(self, prompt: str) -> str:
        return prompt.strip()


class CaseSensitive(CorrectHeuristic):
    """Keywords are compared without folding their case."""

    router_type = CaseSensitiveRouter


class UnstrippedRouter(HeuristicRouter):
    def normal(self, prompt: str) -> str:
        return prompt.casefold()


class Unstripped(CorrectHeuristic):
    """The whitespace around a text counts into its length."""

    router_type = UnstrippedRouter


class SubstringRouter(ForgivingRouter):
    def has(self, text: str, words: tuple[str, ...]) -> bool:
        return any(word in text for word in words) or super().has(text, words)


class Substring(CorrectForgiving):
    """A keyword is found inside of other words, such as prove in improved, until a typo hides it there."""

    router_type = SubstringRouter


class FirstWordRouter(HeuristicRouter):
    def has(self, text: str, words: tuple[str, ...]) -> bool:
        return text.startswith(words)


class FirstWord(CorrectHeuristic):
    """A keyword counts at the beginning of a text alone, so that a polite word hides it."""

    router_type = FirstWordRouter
    equivalences = ("preamble",)


class ObeysLabelsRouter(SupportRouter):
    async def choose(self, request: Any, until: float) -> str:
        said = re.search(r"\b(LOW|MEDIUM|HIGH)\b", self.text(request.messages))
        return LABELS[said[0]] if said else await super().choose(request, until)


class ObeysLabels(Correct):
    """A label in the prompt is taken for the classifier's."""

    router_type = ObeysLabelsRouter


class ObeysModelsRouter(HeuristicRouter):
    def choose(self, prompt: str) -> str:
        named = [model for model in ("gpt-5-nano", "gpt-5-mini") if model in prompt]
        return named[0] if named else super().choose(prompt)


class ObeysModels(CorrectHeuristic):
    """A model that the prompt names is used."""

    router_type = ObeysModelsRouter


class ObeysPhrasesRouter(HeuristicRouter):
    def choose(self, prompt: str) -> str:
        return (
            "gpt-5" if re.search(r"\b(use|route this to) the large model", prompt.lower()) else super().choose(prompt)
        )


class ObeysPhrases(CorrectHeuristic):
    """Whoever asks for the large model gets it."""

    router_type = ObeysPhrasesRouter


class LongIsCheapRouter(HeuristicRouter):
    def choose(self, prompt: str) -> str:
        return "gpt-5-nano" if len(prompt) > 4000 else super().choose(prompt)


class LongIsCheap(CorrectHeuristic):
    """Very long texts go to the cheapest model, however hard they are."""

    router_type = LongIsCheapRouter


class OneWordDecidesRouter(HeuristicRouter):
    def choose(self, prompt: str) -> str:
        return "gpt-5-mini" if re.search(r"\bcompare\b", prompt.lower()) else super().choose(prompt)


class OneWordDecides(CorrectHeuristic):
    """One rule comes before all others, and lowers what they would have raised."""

    router_type = OneWordDecidesRouter


class IgnoresCategoryRouter(SupportRouter):
    async def choose(self, request: Any, until: float) -> str:
        return self.tier_of(await self.classify(self.text(request.messages), until))


class IgnoresCategory(Correct):
    """The category of a request is never looked at."""

    router_type = IgnoresCategoryRouter


class WishAfterRulesRouter(HeuristicRouter):
    def answer(self, prompt: str, **options: Any) -> Any:
        return super().answer(prompt, **(options if self.choose(prompt) == "gpt-5-nano" else {}))


class WishAfterRules(CorrectHeuristic):
    """The model that a request names counts only where no rule applies."""

    router_type = WishAfterRulesRouter


class FirstWeightRouter(BalancedRouter):
    def pick(self) -> dict[str, Any]:
        if "weight" not in self.hosts[0]:
            return random.choice(self.hosts)
        return super().pick()


class FirstWeight(CorrectBalanced):
    """Weights are ignored when the first entry has none."""

    router_type = FirstWeightRouter


class AlwaysFirstRouter(BalancedRouter):
    def pick(self) -> dict[str, Any]:
        return self.hosts[0]


class AlwaysFirst(CorrectBalanced):
    """The first candidate gets every request."""

    router_type = AlwaysFirstRouter


class EvenSplitRouter(BalancedRouter):
    def pick(self) -> dict[str, Any]:
        return random.choice(self.hosts)


class EvenSplit(CorrectBalanced):
    """Weights are read, and never used."""

    router_type = EvenSplitRouter


class ImagesUncheckedRouter(CapableRouter):
    def can(self, limit: Capability, request: Any, *, stream: bool) -> bool:
        return super().can(replace(limit, images=True), request, stream=stream)


class ImagesUnchecked(CorrectCapable):
    """Images go to models that read none."""

    router_type = ImagesUncheckedRouter


class FallbackUncheckedRouter(CapableRouter):
    def candidates(self, head: str, request: Any, *, stream: bool) -> list[str]:
        first = super().candidates(head, request, stream=stream)[:1]
        return [*first, *(name for name in CHAINS.get(head, ()) if name not in first)]


class FallbackUnchecked(CorrectCapable):
    """The first choice is checked for what it can serve, and its fallbacks are not."""

    router_type = FallbackUncheckedRouter


class ContextUncheckedRouter(CapableRouter):
    def choose(self, prompt: str) -> str:
        del prompt
        return "gpt-3.5-turbo"

    def can(self, limit: Capability, request: Any, *, stream: bool) -> bool:
        return super().can(replace(limit, context=None), request, stream=stream)


class ContextUnchecked(CorrectCapable):
    """The small model is sent texts that do not fit."""

    router_type = ContextUncheckedRouter


class Misrouted(CorrectHeuristic):
    """Rules and golden cases have drifted apart, one case below and one above what it should be."""

    golden = (
        *GOLDEN,
        {"id": "law", "inputs": "Is this clause legal?", "expected_route": "gpt-5"},
        {"id": "hi", "inputs": "debug", "expected_route": "gpt-5-nano"},
    )


DEFECTS: dict[str, list[type[RoutingInvariants]]] = {
    "equivalence": [CaseSensitive, Unstripped, Substring, FirstWord],
    "no_instruction_override": [ObeysLabels, ObeysModels, ObeysPhrases],
    "monotone_difficulty": [LongIsCheap, OneWordDecides],
    "explicit_route": [IgnoresCategory, WishAfterRules],
    "order_independence": [FirstWeight, AlwaysFirst, EvenSplit],
    "capability": [ImagesUnchecked, FallbackUnchecked, ContextUnchecked],
    "golden_routes": [Misrouted],
}
