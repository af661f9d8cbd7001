"""Money in what was seen: what the calls of a router have cost, and what of it the router can know."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.seen import Played, SeenCall
from pytest_modelroute.providers.language import mapping
from pytest_modelroute.providers.registry import language_of_provider, provider_behind

ROUNDING: Final = Decimal("0.000001")
"USD by which a router may round an amount that is large enough."
_ROUNDED_FROM: Final = Decimal("0.0001")
_FLOATS: Final = Decimal("1e-9")
_REFUSED: Final = 400


def total(calls: Iterable[SeenCall]) -> Decimal:
    """USD of some calls; those without a price count nothing."""
    return sum((call.cost or Decimal(0) for call in calls), Decimal(0))


def agree(one: Decimal, other: Decimal) -> bool:
    """Whether two amounts are the same but for floats and for a rounding to millionths."""
    larger = max(abs(one), abs(other))
    return abs(one - other) <= max(larger * _FLOATS, ROUNDING if larger > _ROUNDED_FROM else Decimal("1e-12"))


def unpriced(calls: Iterable[SeenCall]) -> bool:
    """Whether a call has no price, so that nothing can be said of a sum."""
    return any(call.cost is None for call in calls)


def reported(call: SeenCall) -> bool:
    """Whether the router has been told what a call used: by a whole reply, or by the end of a stream that says it."""
    if call.ended is None or not (call.completed or _held_back(call)):
        return False
    if not call.streamed:
        return True
    speaks_openai = language_of_provider(provider_behind(call.provider) or "").name == language_of_provider("").name
    if not speaks_openai or "messages" not in call.body:
        return True
    return mapping(call.body.get("stream_options")).get("include_usage") is True


def _held_back(call: SeenCall) -> bool:
    """Whether a content filter held the answer back in a whole reply, which is billed."""
    return call.error == "content_filtered" and call.status is not None and call.status < _REFUSED and not call.streamed


def known_free(call: SeenCall) -> bool:
    """Whether a router can tell that a call costs nothing: it was refused."""
    return call.status is not None and call.status >= _REFUSED


def spent_in(played: Played) -> Decimal | None:
    """USD that the router says it spent in a scene; None where it does not say."""
    after = played.acts[-1].spent if played.acts else None
    return None if after is None or played.spent_before is None else after - played.spent_before


def price_table(promises: Promises) -> str:
    """Where a difference may come from that is none of the router's."""
    return "" if promises.prices else "; declare `prices` where yours differ from those of genai-prices"
