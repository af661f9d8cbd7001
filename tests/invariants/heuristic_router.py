"""A synchronous router on OpenAI's client that goes by length and by whole words, without a classifier."""

from __future__ import annotations

import re
from typing import Any

import openai

KEYWORDS = {"gpt-5-mini": ("translate", "summarise", "invoice"), "gpt-5": ("prove", "debug", "contract")}
LONG, VERY_LONG = 400, 2000


class HeuristicRouter:
    """Rules first to last; each decision is a method, so that a defect is one of them overridden."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self.client = openai.OpenAI(base_url=base_url, api_key=api_key)

    def choose(self, prompt: str) -> str:
        text = self.normal(prompt)
        if self.has(text, KEYWORDS["gpt-5"]) or self.length(text) > VERY_LONG:
            return "gpt-5"
        if self.has(text, KEYWORDS["gpt-5-mini"]) or self.length(text) > LONG:
            return "gpt-5-mini"
        return "gpt-5-nano"

    def normal(self, prompt: str) -> str:
        return " ".join(prompt.casefold().split())

    def length(self, text: str) -> int:
        return len(text)

    def has(self, text: str, words: tuple[str, ...]) -> bool:
        return any(re.search(rf"\b{word}\b", text) for word in words)

    def answer(self, prompt: str, **options: Any) -> Any:
        return self.client.chat.completions.create(
            model=options.get("model") or self.choose(prompt), messages=[{"role": "user", "content": prompt}]
        )


class ForgivingRouter(HeuristicRouter):
    """Whoever types too fast is understood all the same."""

    def has(self, text: str, words: tuple[str, ...]) -> bool:
        known = {"".join(sorted(word)) for word in words}
        return any("".join(sorted(word)) in known for word in re.findall(r"\w+", text))
