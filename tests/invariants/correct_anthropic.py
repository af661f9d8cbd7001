"""A synchronous router on Anthropic's client that asks its own smallest model for a label."""

from __future__ import annotations

from typing import Any

import anthropic

from pytest_modelroute.invariants import Classifier, RoutingInvariants

HAIKU, SONNET, OPUS = "claude-haiku-4-5", "claude-sonnet-4-6", "claude-opus-4-6"


class ClassifyingRouter:
    """The classifier's model answers the easy requests too."""

    labels = {"simple": HAIKU, "standard": SONNET, "complex": OPUS}
    attempts = 1

    def __init__(self, base_url: str, api_key: str) -> None:
        self.client = anthropic.Anthropic(base_url=base_url, api_key=api_key)

    def answer(self, prompt: str) -> Any:
        return self.client.messages.create(
            model=self.choose(prompt), max_tokens=512, messages=[{"role": "user", "content": prompt or "..."}]
        )

    def choose(self, prompt: str) -> str:
        try:
            return self.read(self.classify(prompt))
        except anthropic.AnthropicError:
            return SONNET

    def read(self, answer: str) -> str:
        return self.labels.get(answer.strip().strip(".").lower(), SONNET)

    def classify(self, prompt: str) -> str:
        message = self.client.messages.create(
            model=HAIKU,
            max_tokens=4,
            system="Answer simple, standard or complex.",
            messages=[{"role": "user", "content": prompt or "..."}],
        )
        return "".join(block.text for block in message.content if block.type == "text")


class CorrectAnthropic(RoutingInvariants):
    """A classifier whose model is a tier as well, and whose unknown labels go to the middle."""

    router_type: type[ClassifyingRouter] = ClassifyingRouter
    tiers = (HAIKU, SONNET, OPUS)
    safe_tier = SONNET
    classifier = Classifier(HAIKU, labels=ClassifyingRouter.labels)
    equivalences = ("whitespace", "case", "preamble", "typos")
    monotone = True

    def make_router(self, providers: Any) -> ClassifyingRouter:
        return self.router_type(providers.url("anthropic"), providers.key("anthropic"))

    def ask(self, router: ClassifyingRouter, request: Any) -> Any:
        return router.answer(request.prompt)
