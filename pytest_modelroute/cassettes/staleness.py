"""Which recordings do not say any more what a live call would: too old, of another model, at another price."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Literal, TypeAlias, TypeVar

from pytest_modelroute.cassettes.deprecations import Deprecation, deprecation_of
from pytest_modelroute.cassettes.facts import Facts
from pytest_modelroute.cassettes.recorded_price import read_price, snapshot, usd
from pytest_modelroute.cassettes.wording import counted
from pytest_modelroute.errors import CassetteError
from pytest_modelroute.providers.prices import Price, PriceBook

StaleKind: TypeAlias = Literal["old", "deprecated", "repriced", "another_version"]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """One reason not to trust some recordings."""

    kind: StaleKind
    message: str
    "One line: what, since when, and what to do."
    model: str = ""
    "The model asked; empty for calls that are none of a model."
    count: int = 0
    "How many recordings it is about."


def find_stale(
    recordings: Iterable[Facts],
    *,
    now: datetime,
    max_age_days: int,
    prices: PriceBook,
    command: str,
    deprecated: Callable[[str, str], Deprecation | None] = deprecation_of,
) -> list[Stale]:
    """
    All that is stale in one cassette, one reason for all recordings that share it.

    Args:
        recordings: What is known of its interactions.
        now: With a time zone.
        max_age_days: From which age on a recording is too old.
        prices: Today's.
        command: What records the cassette again.
        deprecated: What is known of the withdrawal of a model, by provider and model.

    Raises:
        CassetteError: A time or a price in the recordings is none.

    """
    known = list(recordings)
    return [
        *_old(known, now, max_age_days, command),
        *_deprecated(known, now, command, deprecated),
        *_repriced(known, prices, command),
        *other_versions(known, command=command),
    ]


def other_versions(recordings: Iterable[Facts], *, command: str) -> list[Stale]:
    """
    Models that are known to answer as another version now, by later recordings of one cassette or of many.

    An alias has moved where one version answered up to some time and another one from then on. Where versions take
    turns (a gateway that balances), none replaces the other.

    Raises:
        CassetteError: A time in the recordings is none.

    """
    found: list[Stale] = []
    answered = [each for each in recordings if each.model and each.model_answered]
    for (_, model), group in _grouped(answered, lambda each: (each.provider, each.model)):
        versions = _grouped(group, lambda each: each.model_answered)
        spans = sorted((*_span(of_one), version, len(of_one)) for version, of_one in versions)
        moves = all(earlier[1] < later[0] for earlier, later in pairwise(spans))
        if len(spans) > 1 and moves:
            *_, (_, last, before, _), (first, _, after, _) = spans
            older = sum(count for *_, count in spans[:-1])
            found.append(
                Stale(
                    kind="another_version",
                    message=f"{model!r} answered as {before!r} until {last:%Y-%m-%d} and as {after!r} from "
                    f"{first:%Y-%m-%d} on; record what is older again ({_counted(older)}): {command}",
                    model=model,
                    count=older,
                )
            )
    return found


def _old(recordings: Sequence[Facts], now: datetime, max_age_days: int, command: str) -> Iterator[Stale]:
    oldest_allowed = now - timedelta(days=max_age_days)
    old = [each for each in recordings if _time(each) < oldest_allowed]
    for model, group in _grouped(old, lambda each: each.model):
        of_model = f" of {model!r}" if model else ""
        one = len(group) == 1
        day = f"{_span(group)[0]:%Y-%m-%d}"
        yield Stale(
            kind="old",
            message=f"{_counted(len(group))}{of_model} {'is' if one else 'are'} older than {max_age_days} days "
            f"({'' if one else 'the oldest '}of {day}); record {'it' if one else 'them'} again: {command}",
            model=model,
            count=len(group),
        )


def _deprecated(
    recordings: Sequence[Facts], now: datetime, command: str, deprecated: Callable[[str, str], Deprecation | None]
) -> Iterator[Stale]:
    for (provider, model), group in _grouped(recordings, lambda each: (each.provider, each.model)):
        found = deprecated(provider, model) if model else None
        if found is None:
            continue
        what = "is deprecated"
        if found.ends is not None:
            what = f"{'was' if found.ends <= now.date() else 'will be'} shut down on {found.ends}"
        yield Stale(
            kind="deprecated",
            message=f"{model!r} {what} ({found.source}), and {_counted(len(group))} asked it; "
            f"choose another model and record again: {command}",
            model=model,
            count=len(group),
        )


def _repriced(recordings: Sequence[Facts], prices: PriceBook, command: str) -> Iterator[Stale]:
    priced = [each for each in recordings if each.price is not None]
    for (provider, model, then), group in _grouped(priced, lambda each: (each.provider, each.model, _price(each))):
        today = snapshot(prices, provider, model)
        changes = [] if today is None else list(_price_changes(then, read_price(today)))
        if changes:
            one = len(group) == 1
            yield Stale(
                kind="repriced",
                message=f"the price of {model!r} has changed since {_counted(len(group))} {'was' if one else 'were'} "
                f"made: {', '.join(changes)} USD per million tokens; record {'it' if one else 'them'} again: {command}",
                model=model,
                count=len(group),
            )


def _price_changes(then: Price, today: Price) -> Iterator[str]:
    for bucket, before, after in (
        ("input", then.input, today.input),
        ("output", then.output, today.output),
        ("cache_read", _or(then.cache_read, then.input), _or(today.cache_read, today.input)),
        ("cache_write", _or(then.cache_write, then.input), _or(today.cache_write, today.input)),
    ):
        if before != after:
            yield f"{bucket} {usd(before)} -> {usd(after)}"


def _or(price: Decimal | None, otherwise: Decimal) -> Decimal:
    return otherwise if price is None else price


def _price(facts: Facts) -> Price:
    return read_price(facts.price or {})


def _time(facts: Facts) -> datetime:
    try:
        moment = datetime.fromisoformat(facts.recorded_at)
    except ValueError:
        raise CassetteError(
            f"response.modelroute.recorded_at: {facts.recorded_at!r} is no time, such as 2026-11-24T15:00:00Z"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _span(recordings: Sequence[Facts]) -> tuple[datetime, datetime]:
    times = [_time(each) for each in recordings]
    return min(times), max(times)


def _grouped(recordings: Iterable[Facts], key: Callable[[Facts], Key]) -> list[tuple[Key, list[Facts]]]:
    groups: dict[Key, list[Facts]] = {}
    for each in recordings:
        groups.setdefault(key(each), []).append(each)
    return list(groups.items())


def _counted(number: int) -> str:
    return counted(number, "recording")
