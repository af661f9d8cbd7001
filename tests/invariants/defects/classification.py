"""One realistic defect for each class: how the classifier's answer is read."""

from __future__ import annotations

import anthropic

from pytest_modelroute.invariants import Classifier, RoutingInvariants
from tests.invariants.correct import Correct
from tests.invariants.correct_anthropic import OPUS, SONNET, ClassifyingRouter, CorrectAnthropic
from tests.invariants.support_router import LABELS, CallFailed, SupportRouter


class ContainsRouter(SupportRouter):
    def tier_of(self, label: str) -> str:
        return next((tier for name, tier in LABELS.items() if name in label.upper()), self.safe_tier())


class Contains(Correct):
    """A label is found anywhere in the answer: LOW in SLOW and ALLOW."""

    router_type = ContainsRouter


class StartsWithRouter(ClassifyingRouter):
    def read(self, answer: str) -> str:
        text = answer.strip().lower()
        return next((tier for name, tier in self.labels.items() if text.startswith(name)), SONNET)


class StartsWith(CorrectAnthropic):
    """Whatever begins with a label is taken for it: complexity for complex."""

    router_type = StartsWithRouter


class ExactRouter(SupportRouter):
    def tier_of(self, label: str) -> str:
        return LABELS.get(label, self.safe_tier())


class Exact(Correct):
    """A label is compared as it came, so that a newline or a small letter makes it unknown."""

    router_type = ExactRouter


class CrashesRouter(SupportRouter):
    def tier_of(self, label: str) -> str:
        return LABELS[label.strip().strip(".\"'*!").upper()] if label else self.safe_tier()


class Crashes(Correct):
    """An unknown label raises a KeyError."""

    router_type = CrashesRouter


class SwappedRouter(SupportRouter):
    def tier_of(self, label: str) -> str:
        swapped = {"gpt-5-mini": "gpt-5", "gpt-5": "gpt-5-mini"}
        found = LABELS.get(label.strip().strip(".\"'*!").upper())
        return self.safe_tier() if found is None else swapped.get(found, found)


class Swapped(Correct):
    """Two labels lead to each other's tiers."""

    router_type = SwappedRouter


class CheapByDefaultRouter(SupportRouter):
    def tier_of(self, label: str) -> str:
        return LABELS.get(label.strip().strip(".\"'*!").upper(), "gpt-5-nano")


class CheapByDefault(Correct):
    """An unknown label goes to the cheapest model instead of the safe one."""

    router_type = CheapByDefaultRouter


class OutageUncaughtRouter(ClassifyingRouter):
    def choose(self, prompt: str) -> str:
        try:
            return self.read(self.classify(prompt))
        except anthropic.APIStatusError:
            return SONNET


class OutageUncaught(CorrectAnthropic):
    """Errors with a status are caught, and lost connections and time-outs are not."""

    router_type = OutageUncaughtRouter


class OutageIsCheapRouter(SupportRouter):
    async def classify(self, prompt: str, until: float) -> str:
        try:
            return await super().classify(prompt, until)
        except CallFailed:
            return "LOW"


class OutageIsCheap(Correct):
    """When the classifier fails, the request counts as an easy one."""

    router_type = OutageIsCheapRouter


class AsksThriceRouter(ClassifyingRouter):
    def classify(self, prompt: str) -> str:
        votes = [super(AsksThriceRouter, self).classify(prompt) for _ in range(3)]
        return max(votes, key=votes.count)


class AsksThrice(CorrectAnthropic):
    """Three classifications, one after the other, for one request."""

    router_type = AsksThriceRouter


class AsksTwiceRouter(SupportRouter):
    async def classify(self, prompt: str, until: float) -> str:
        await super().classify(prompt, until)
        return await super().classify(prompt, until)


class AsksTwice(Correct):
    """The classification is asked for again where the first one should be kept."""

    router_type = AsksTwiceRouter


class DearClassifierRouter(ClassifyingRouter):
    def classify(self, prompt: str) -> str:
        message = self.client.messages.create(
            model=OPUS,
            max_tokens=4,
            system="Answer simple, standard or complex. " + "For example, a greeting is simple. " * 40,
            messages=[{"role": "user", "content": prompt or "..."}],
        )
        return "".join(block.text for block in message.content if block.type == "text")


class DearClassifier(CorrectAnthropic):
    """The largest model reads every request, with a page of examples, to say which model is large enough."""

    router_type = DearClassifierRouter
    classifier = Classifier(OPUS, labels=ClassifyingRouter.labels)


DEFECTS: dict[str, list[type[RoutingInvariants]]] = {
    "classifier_labels": [Contains, StartsWith, Exact, Crashes, Swapped],
    "classifier_fail_safe": [CheapByDefault, OutageUncaught, OutageIsCheap, Contains],
    "classifier_overhead": [AsksThrice, AsksTwice, DearClassifier],
}
