"""The LLM classifier: a small model says how hard a request is, and the label decides on the tier."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Final

from pytest_modelroute.errors import ProviderError
from pytest_modelroute.router.client import ModelClient
from pytest_modelroute.router.requests import ModelRequest

INSTRUCTION: Final = (
    "Rate how hard the user's request is to answer well. "
    "LOW: a fact or a single plain intent. MEDIUM: some reasoning or several parts. HIGH: careful reasoning or real "
    "risk. "
    "Answer with one word: LOW, MEDIUM or HIGH."
)
LABELS: Final[Mapping[str, str]] = {"LOW": "small", "MEDIUM": "medium", "HIGH": "large"}
_PADDING: Final = string.whitespace + string.punctuation


class LLMClassifier:
    """
    Asks a model for LOW, MEDIUM or HIGH, at temperature 0 and with five tokens.

    It fails safe: an answer that is no label, and a model that does not answer, count as the strongest tier. Choose a
    model that takes `temperature` and `max_tokens`; reasoning models refuse them.
    """

    def __init__(
        self, client: ModelClient, model: str, *, labels: Mapping[str, str] = LABELS, strongest: str | None = None
    ) -> None:
        """
        Ask nobody yet.

        Args:
            client: Sends the question.
            model: The alias of the model that is asked.
            labels: Label -> tier.
            strongest: The tier for everything that is not understood; the last of the settings where left out.

        """
        self._client = client
        self._model = model
        self._labels = {label.casefold(): tier for label, tier in labels.items()}
        self._strongest = client.settings.tiers[-1] if strongest is None else strongest

    @property
    def model(self) -> str:
        """The alias of the model that is asked."""
        return self._model

    def request(self, prompt: str) -> ModelRequest:
        """The question for a prompt."""
        return ModelRequest(prompt=prompt, system=INSTRUCTION, params={"temperature": 0, "max_tokens": 5})

    def classify(self, prompt: str) -> str:
        """The tier for a prompt."""
        try:
            answer = self._client.send(self._model, self.request(prompt)).text
        except ProviderError:
            return self._strongest
        return self.read(answer)

    async def aclassify(self, prompt: str) -> str:
        """Do the same in async code."""
        try:
            answer = (await self._client.asend(self._model, self.request(prompt))).text
        except ProviderError:
            return self._strongest
        return self.read(answer)

    def read(self, answer: str) -> str:
        """The tier of an answer: a label whatever its case and padding, and only as the whole answer."""
        return self._labels.get(answer.strip(_PADDING).casefold(), self._strongest)
