"""Classifiers say which tier a prompt needs; here those that ask a model. `heuristic.py` has one that asks nobody."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from pytest_modelroute.errors import ProviderError, SettingsError
from pytest_modelroute.router.calls import RequestContext
from pytest_modelroute.router.client import ModelClient
from pytest_modelroute.router.requests import ModelRequest

INSTRUCTION: Final = (
    "Rate how hard the user's request is to answer well. "
    "LOW: a fact or a single plain intent. MEDIUM: some reasoning or several parts. HIGH: careful reasoning or real "
    "risk. "
    "Answer with one word: LOW, MEDIUM or HIGH."
)
CATEGORIES: Final = ("LOW", "MEDIUM", "HIGH")
LABELS: Final[Mapping[str, str]] = {"LOW": "small", "MEDIUM": "medium", "HIGH": "large"}
_PADDING: Final = string.whitespace + string.punctuation


def labels_of(tiers: Sequence[str]) -> dict[str, str]:
    """Category -> tier: the weakest, the one in the middle and the strongest."""
    return dict(zip(CATEGORIES, (tiers[0], tiers[len(tiers) // 2], tiers[-1]), strict=True))


def tier_named(name: str, tiers: Sequence[str]) -> str:
    """The tier that a category (in any case) or a tier names; SettingsError where it is neither."""
    labels = labels_of(tiers)
    if name not in tiers and name.upper() not in labels:
        raise SettingsError(f"there is no category {name!r}; known are: {', '.join((*labels, *tiers))}")
    return name if name in tiers else labels[name.upper()]


class Classifier(Protocol):
    """Says which tier a prompt needs. One of your own derives from it and has `classify` at least."""

    def classify(self, prompt: str, *, context: RequestContext | None = None) -> str:
        """
        The tier for a prompt.

        Args:
            prompt: What is asked.
            context: That of the request; pass it to the calls of a `ModelClient`, so that they are on its bill.

        """
        ...

    async def aclassify(self, prompt: str, *, context: RequestContext | None = None) -> str:
        """The same in async code."""
        return self.classify(prompt, context=context)

    def question(self, _prompt: str, /) -> tuple[str, ModelRequest] | None:
        """The model that is asked (its alias) and what, for estimates; None where none is."""
        return None


class LLMClassifier(Classifier):
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

    def question(self, prompt: str, /) -> tuple[str, ModelRequest]:
        """The model that is asked, and what."""
        return self._model, self.request(prompt)

    def classify(self, prompt: str, *, context: RequestContext | None = None) -> str:
        """The tier for a prompt."""
        try:
            answer = self._client.send(self._model, self.request(prompt), context=context).text
        except ProviderError:
            return self._strongest
        return self.read(answer)

    async def aclassify(self, prompt: str, *, context: RequestContext | None = None) -> str:
        """Do the same in async code."""
        try:
            answer = (await self._client.asend(self._model, self.request(prompt), context=context)).text
        except ProviderError:
            return self._strongest
        return self.read(answer)

    def read(self, answer: str) -> str:
        """The tier of an answer: a label whatever its case and padding, and only as the whole answer."""
        return self._labels.get(answer.strip(_PADDING).casefold(), self._strongest)
