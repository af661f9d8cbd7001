"""Recorded interactions read as calls of models: what was asked, what was answered, what it used and what it costs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlsplit

from pytest_modelroute.cassettes.encodings import decoded
from pytest_modelroute.cassettes.facts import Facts
from pytest_modelroute.cassettes.interaction import Interaction
from pytest_modelroute.cassettes.recorded_price import cost_of
from pytest_modelroute.errors import MalformedExchange, PriceUnknown, RecordingError
from pytest_modelroute.providers.exchange import ProviderReply, ProviderRequest, Usage
from pytest_modelroute.providers.language import Language
from pytest_modelroute.providers.prices import PriceBook
from pytest_modelroute.providers.registry import language_for, provider_at, provider_behind
from pytest_modelroute.wire.recorded import FIRST_ERROR, joined, read_reply


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """A recorded call of a model."""

    provider: str
    language: Language
    request: ProviderRequest
    status: int
    facts: Facts | None
    "None for one that another tool recorded."
    reply: ProviderReply | None = None
    "None for an error, and for a reply that cannot be read."
    error: str | None = None
    "An error class, `malformed` or `cut off`; None for a whole, good reply."

    @property
    def model(self) -> str:
        """The model asked for."""
        return self.request.model

    @property
    def model_answered(self) -> str:
        """The model that the reply names; empty where it names none."""
        return "" if self.reply is None else self.reply.model

    @property
    def usage(self) -> Usage | None:
        """What the reply reports; None where it reports nothing."""
        return None if self.reply is None else self.reply.usage

    @property
    def text(self) -> str:
        """What was answered, joined from the pieces of a stream; the calls of tools as JSON where there is no text."""
        return "" if self.reply is None else said(self.reply)

    @property
    def complete(self) -> bool:
        """Whether the reply was read to its end."""
        return self.facts is None or self.facts.complete

    def recorded_cost(self) -> Decimal | None:
        """
        USD by the price that was kept with it; 0 for an error; None where no price or no usage is known.

        Raises:
            CassetteError: The price was edited into something that is none.

        """
        if self.status >= FIRST_ERROR:
            return Decimal(0)
        return None if self.facts is None or self.usage is None else cost_of(self.facts.price, self.usage)

    def cost_today(self, prices: PriceBook) -> Decimal | None:
        """USD by the prices of today; 0 for an error; None where no price or no usage is known."""
        if self.status >= FIRST_ERROR:
            return Decimal(0)
        return None if self.usage is None else cost_or_none(prices, self.model, self.usage, self.provider)


def cost_or_none(prices: PriceBook, model: str, usage: Usage, provider: str) -> Decimal | None:
    """USD of a usage; None where the model has no price."""
    try:
        return prices.cost(model, usage, provider=provider)
    except PriceUnknown:
        return None


def said(reply: ProviderReply) -> str:
    """The text of a reply; where it has none, its calls of tools as JSON."""
    if reply.text or not reply.tool_calls:
        return reply.text
    calls = [{"name": call.name, "arguments": call.arguments} for call in reply.tool_calls]
    return json.dumps(calls, sort_keys=True, ensure_ascii=False)


def read_call(interaction: Interaction, hosts: Sequence[tuple[str, str]] = ()) -> RecordedCall | None:
    """
    An interaction as a call of a model; None for one that is none in a language spoken here.

    Args:
        interaction: As recorded.
        hosts: (host, provider) of models that the settings serve at addresses of their own.

    """
    request, response, facts = interaction.request, interaction.response, interaction.facts
    address = urlsplit(request.url)
    known = dict(hosts).get(address.hostname or "") or provider_at(address.hostname or "")
    provider = (facts.provider if facts is not None else "") or known
    language = language_for(request.method, address.path, provider_behind(provider))
    if language is None:
        return None
    try:
        body, _ = decoded(request.body, request.header("content-encoding"))
        asked = language.read_request(body, address.path)
    except (MalformedExchange, RecordingError):
        return None
    reply, error = _read_reply(language, interaction, stream=asked.stream)
    return RecordedCall(
        provider=provider or language.provider,
        language=language,
        request=asked,
        status=response.status,
        facts=facts,
        reply=reply,
        error=error,
    )


def _read_reply(
    language: Language, interaction: Interaction, *, stream: bool
) -> tuple[ProviderReply | None, str | None]:
    response = interaction.response
    headers: Mapping[str, str] = joined(response.headers)
    try:
        body, _ = decoded(response.body, headers.get("content-encoding", ""))
    except RecordingError:
        return None, "malformed"
    return read_reply(language, response.status, body, dict(headers), stream=stream)
