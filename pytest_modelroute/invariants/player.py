"""Answers the provider calls of a scene: who failed how often in this request, and what comes next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from threading import RLock
from typing import Any, Final, cast

from pytest_modelroute.errors import PriceUnknown, ScriptError
from pytest_modelroute.invariants.promises import BudgetPromise, Promises
from pytest_modelroute.invariants.scenes import Act, Ask, Behaviour, Fails, Good, Script
from pytest_modelroute.invariants.seen import Role
from pytest_modelroute.providers.exchange import FinishReason, ProviderReply, Usage, output_limit
from pytest_modelroute.providers.language import Language
from pytest_modelroute.wire.answers import Answer, Pace, answer_with_fault, answer_with_reply
from pytest_modelroute.wire.call_log import ProviderCall

MOST_CALLS: Final = 200
"Of one request; a router that makes more will make them for ever."
_ODDMENT: Final = 100
"Input tokens that may be added to hit an amount exactly."
_CLASSIFIED_S: Final = 0.05
_ANSWER: Final = "This is the answer of {model}."


class EndlessCalls(BaseException):
    """One request made more provider calls than any router needs; no Exception, so that no fallback hides it."""


class NoSuchForm(BaseException):
    """The provider that was asked has no form for the fault of the scene: the example says nothing."""


@dataclass(slots=True, kw_only=True)
class Told:
    """What is known of one call beyond the log."""

    role: Role
    behaviour: Behaviour | str | None = None


@dataclass(slots=True, kw_only=True)
class AskState:
    """How far one request is."""

    ask: Ask | None
    script: Script
    entered: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    asked: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    classified: list[ProviderCall] = field(default_factory=list[ProviderCall])
    calls: int = 0
    answered: bool = False


class ScenePlayer:
    """The scripted providers of one scene; stands where `mock_providers` stands otherwise."""

    def __init__(self, promises: Promises, *, learned: Signatures | None = None) -> None:
        """
        Nobody is asked yet.

        Args:
            promises: Say which calls are classifications, and what answers look like.
            learned: How calls of the classifier's model look, where that was seen before.

        """
        self._promises = promises
        self._learned = learned
        self.fatal: BaseException | None = None
        "What must end the scene, also where the router has swallowed it."
        self._states: dict[str | None, AskState] = {}
        self._lock = RLock()
        self.told: dict[int, Told] = {}
        self.answers_for: int | None = None
        self._spent = Decimal(0)

    def begin(self, act: Act, cases: Sequence[str]) -> None:
        """The requests of an act are about to be made, under these case labels."""
        for ask, case in zip(act.asks, cases, strict=True):
            self._states[case] = AskState(ask=ask, script=ask.script or act.script)

    def answer(self, call: ProviderCall, language: Language, *, strict: bool) -> Answer:
        """The answer to a call."""
        del strict
        with self._lock:
            state = self._states.setdefault(call.case, AskState(ask=None, script=Script()))
            state.calls += 1
            if state.calls > MOST_CALLS:
                self.fatal = EndlessCalls(
                    f"one request made more than {MOST_CALLS} provider calls, and was ended there"
                )
                raise self.fatal
            role = self._role(call, state)
            behaviour: Behaviour | str = self._behaviour(call, state, role)
            self.told[call.number] = Told(role=role, behaviour=behaviour)
            good = state.script.good
            try:
                answer = self._answer(call, language, behaviour, free=good.fits or good.spends_up_to is not None)
            except ScriptError as error:
                self.fatal = NoSuchForm(str(error))
                raise self.fatal from None
            self._spent += price_of(call, answer.usage)
        return answer

    def _answer(self, call: ProviderCall, language: Language, behaviour: Behaviour | str, *, free: bool) -> Answer:
        if isinstance(behaviour, str):  # only a classifier answers with a label
            reply = ProviderReply(text=behaviour, usage=Usage() if free else None)
            return answer_with_reply(language, call.request, reply, Pace(latency=_CLASSIFIED_S))
        if isinstance(behaviour, Fails):
            return answer_with_fault(language, call.request, behaviour.fault, behaviour.latency, call.provider)
        return self._reply(call, language, behaviour)

    def _role(self, call: ProviderCall, state: AskState) -> Role:
        promises = self._promises
        if call.embeds:
            return "embedding"
        if promises.cascade is not None and call.model == promises.cascade.judge:
            return "judge"
        if (
            promises.classifier is not None
            and call.model == promises.classifier.model
            and self._classifies(call, state)
        ):
            return "classifier"
        if call.model in promises.helpers and call.model not in promises.tiers:
            return "helper"
        return "answer"

    def _classifies(self, call: ProviderCall, state: AskState) -> bool:
        """
        Whether a call is one of classification.

        By the class's own predicate, by how such calls and answers of the same model were seen to look, else by its
        place: the first one of a request that names no category, and the same again.
        """
        classifier = self._promises.classifier
        assert classifier is not None  # noqa: S101 - the caller's condition
        if classifier.when is not None:
            return classifier.when(call)
        if self._learned is not None and (known := self._learned.is_classification(call)) is not None:
            return known
        if state.ask is None or state.ask.request.category is not None or state.entered:
            return False
        first = next(iter(state.classified), None)
        return first is None or first.request.body == call.request.body

    def _behaviour(self, call: ProviderCall, state: AskState, role: Role) -> Behaviour | str:
        script = state.script
        if role == "classifier":
            state.classified.append(call)
            label: str | Fails | None = None if state.ask is None else state.ask.label
            label = label if label is not None else script.label
            if label is None:
                classifier = self._promises.classifier
                assert classifier is not None  # noqa: S101 - there is a call of one
                label = next(iter(classifier.labels))
            return label
        if role == "judge":
            cascade = self._promises.cascade
            row = script.models.get(call.model)
            assert cascade is not None  # noqa: S101 - there is a call of its judge
            return self._nth(row, call, state) if row else Good(text=cascade.judge_accepts)
        if role in ("embedding", "helper"):
            row = script.models.get(call.model)
            return self._nth(row, call, state) if row else Good()
        candidate = (call.provider, call.model)
        if candidate not in state.entered:
            state.entered.append(candidate)
        place = state.entered.index(candidate)
        row = script.models.get(call.model) or (script.candidates[place] if place < len(script.candidates) else ())
        return self._nth(row, call, state) if row else script.good

    @staticmethod
    def _nth(row: Sequence[Behaviour], call: ProviderCall, state: AskState) -> Behaviour:
        candidate = (call.provider, call.model)
        state.asked[candidate] += 1
        return row[min(state.asked[candidate], len(row)) - 1]

    def _reply(self, call: ProviderCall, language: Language, good: Good) -> Answer:
        text = good.text if good.text is not None else self._text(call)
        reply = ProviderReply(
            text=text,
            usage=self._usage(call, good),
            finish_reason=cast("FinishReason", good.finish_reason),
            tool_calls=good.tool_calls,
        )
        return answer_with_reply(
            language, call.request, reply, Pace(latency=good.latency, ttft=good.ttft, chunks=good.chunks)
        )

    def _usage(self, call: ProviderCall, good: Good) -> Usage | None:
        if good.spends is not None:
            return usage_for(call, good.spends)
        if good.spends_up_to is not None:
            return exact_usage_for(call, good.spends_up_to - self._spent)
        if good.leaves_calls is not None and self._promises.budget is not None:
            room = self._next_cost(call, self._promises.budget) * Decimal(str(good.leaves_calls))
            return usage_for(call, self._promises.budget.cap - room - self._spent)
        return fitting_usage(call) if good.fits else good.usage

    def _next_cost(self, call: ProviderCall, budget: BudgetPromise) -> Decimal:
        """What the next call of a budget that is nearly used up may cost."""
        model = call.model
        if callable(budget.ladder):
            model = budget.ladder(0.0, model)
        elif budget.ladder is not None:
            model = self._promises.tiers[0]
        try:
            return call.prices.cost(model, fitting_usage(call))
        except PriceUnknown:
            return price_of(call, fitting_usage(call))

    def _text(self, call: ProviderCall) -> str:
        answers = self._promises.answers
        if callable(answers):
            return answers(call)
        cascade = self._promises.cascade
        if answers is None and cascade is not None:
            if cascade.accepts is not None:
                return cascade.accepts
            if cascade.confidence is not None:
                return cascade.confidence.format(text=_ANSWER.format(model=call.model), confidence=1.0)
        return answers if answers is not None else _ANSWER.format(model=call.model)


@dataclass(frozen=True, slots=True)
class Signatures:
    """How the calls of the classifier's model look, by what they are for: whatever they are about, these stay alike."""

    classifications: frozenset[tuple[Any, ...]]
    answers: frozenset[tuple[Any, ...]]

    def is_classification(self, call: ProviderCall) -> bool | None:
        """Whether a call is one; None where its looks do not tell."""
        looks = looks_of(call)
        asks, answers = looks in self.classifications, looks in self.answers
        return None if asks == answers else asks


def looks_of(call: Any) -> tuple[Any, ...]:
    """The system prompt of a call and its parameters: what a purpose has in common, whatever is asked."""
    return (
        "\n".join(message.text for message in call.messages if message.role == "system"),
        tuple(sorted((name, repr(value)) for name, value in call.params.items())),
    )


def usage_for(call: ProviderCall, usd: Decimal) -> Usage:
    """
    A usage that makes a call cost an amount, as exactly as whole tokens allow and never more.

    Output alone, since input tokens have a discount here and there.
    """
    try:
        unit = call.prices.cost(call.model, Usage(output=1_000_000), provider=call.provider)
    except PriceUnknown:
        return Usage(output=1)
    return Usage(output=max(1, int(usd * 1_000_000 / unit))) if unit else Usage(output=1)


def exact_usage_for(call: ProviderCall, usd: Decimal) -> Usage:
    """A usage that makes a call cost an amount to the last digit, where some input tokens on top allow it."""
    read, made = (price_of(call, Usage(**{kind: 1000})) / 1000 for kind in ("fresh_input", "output"))
    for tokens in range(_ODDMENT if made and usd > 0 else 0):
        rest = usd - tokens * read
        if rest > 0 and not rest % made:
            found = Usage(fresh_input=tokens, output=int(rest / made))
            return found if price_of(call, found) == usd else usage_for(call, usd)
    return usage_for(call, usd)


def fitting_usage(call: ProviderCall, *, most: int = 100) -> Usage:
    """A usage within what the request allows: as long as its limit, `most` tokens where it has none."""
    return Usage(output=output_limit(call.request.params) or most)


def price_of(call: ProviderCall, usage: Usage | None) -> Decimal:
    """What a usage costs; 0 for what has no price."""
    try:
        return Decimal(0) if usage is None else call.prices.cost(call.model, usage, provider=call.provider)
    except PriceUnknown:
        return Decimal(0)


def known_price(prices: Any, model: str) -> bool:
    """Whether a model has a price."""
    try:
        prices.cost(model, Usage(output=1))
    except PriceUnknown:
        return False
    return True


def behaviours(script: Script) -> Mapping[str, Sequence[Behaviour]]:
    """The rows of a script by the names that reports have for them."""
    ordinals = ("the first candidate", "the second candidate", "the third candidate", "the fourth candidate")
    named = dict(zip(ordinals, script.candidates, strict=False))
    return {**named, **script.models}
