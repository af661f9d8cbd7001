"""What a recording session is likely to cost, from what the same tests have recorded before."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from pytest_modelroute.cassettes.calls import read_call
from pytest_modelroute.cassettes.files import read_cassette
from pytest_modelroute.cassettes.tape import RecordMode
from pytest_modelroute.cassettes.wording import counted
from pytest_modelroute.errors import CassetteError
from pytest_modelroute.providers.prices import PriceBook

Planned = tuple[Path, PriceBook]
"The cassette of a test, and the prices of today."


def describe_estimate(tests: Iterable[Planned], *, mode: RecordMode, cap: Decimal | None) -> str:
    """
    One line, before the first live call.

    A cassette that cannot be read counts as none here: its test says what is wrong with it.

    Args:
        tests: Each test that records.
        mode: `new` or `all`.
        cap: In USD; None for none.

    """
    planned = list(tests)
    cassettes = dict(planned)
    calls, unpriced, cost, without = 0, 0, Decimal(0), 0
    for path, prices in cassettes.items():
        found = _calls(path, prices)
        without += not found
        calls += len(found)
        unpriced += found.count(None)
        cost += sum((each for each in found if each is not None), Decimal(0))
    held = "no cap (--modelroute-max-usd)" if cap is None else f"the cap is {cap:f} USD"
    what = "anew" if mode == "all" else "what is missing"
    begin = f"modelroute: recording {what} in {counted(len(planned), 'test')}"
    nothing = f"{counted(without, 'cassette')} not recorded yet" if without else ""
    if mode == "new":
        parts = [f"{counted(calls, 'call')} recorded already cost nothing" if calls else "", nothing]
    else:
        known = f" ({unpriced} of unknown cost)" if unpriced else ""
        parts = [
            f"the {counted(calls, 'call')} recorded before cost {cost:f} USD today{known}" if calls else "",
            nothing,
        ]
    return f"{begin}: {'; '.join([part for part in parts if part] or ['no call of a model is known yet'])}; {held}"


def _calls(path: Path, prices: PriceBook) -> list[Decimal | None]:
    """What each recorded call of a model costs today."""
    try:
        interactions = read_cassette(path).interactions
    except CassetteError:
        return []
    found = [read_call(interaction) for interaction in interactions]
    return [call.cost_today(prices) for call in found if call is not None]
