"""What a recording session has spent, over all its processes, and the cap that it is held to."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast
from uuid import uuid4

from pytest_modelroute.cassettes.state import locked, part_of
from pytest_modelroute.errors import CassetteError, PriceUnknown, RecordingError
from pytest_modelroute.providers.exchange import Usage, estimate_usage, output_limit
from pytest_modelroute.wire.call_log import ProviderCall

FOLDER: Final = "spent"
_OUTPUT: Final = 1024
"The output tokens that a request without a limit of its own is expected to cost, at the most."


class Purse:
    """
    The money of one session. Each live call reserves the most that it may cost, and pays what it has cost.

    Its book is a file, so that all workers of pytest-xdist pay from one purse. A reservation of a process that was
    killed stays: its call may have been billed.

    Attributes:
        cap: In USD; None for none.
        path: The book.

    """

    def __init__(self, state: Path, session: str, cap: Decimal | None) -> None:
        """`state` is the folder `.modelroute`, `session` tells the run, `cap` is in USD, None for none."""
        self._state = state
        self.cap = cap
        self.path = state / FOLDER / f"{session}.json"

    def admit(self, call: ProviderCall) -> Callable[[], None]:
        """
        Reserve what a call may cost.

        Returns:
            What to call at its end, when its usage is known.

        Raises:
            RecordingError: The cap does not cover it, or the model has no price that a cap could count.

        """
        most = self._most(call)
        reservation = uuid4().hex
        with self._book() as book:
            spent, reserved = self._sums(book)
            if self.cap is not None and spent + reserved + most > self.cap:
                raise RecordingError(
                    f"a call of {call.model!r} was not made: it may cost {most:f} USD, and of --modelroute-max-usd "
                    f"{self.cap:f} are spent {spent:f}"
                    + (f" and reserved for calls under way {reserved:f}" if reserved else "")
                    + ".\nWhat is recorded so far is kept in the journal: run again with a higher cap to go on"
                )
            book["reserved"][reservation] = str(most)

        def pay() -> None:
            with self._book() as book:
                book["reserved"].pop(reservation, None)
                try:
                    book["spent"] = str(Decimal(book["spent"]) + call.cost_usd)
                except PriceUnknown:
                    book["unpriced"] += 1
                book["calls"] += 1

        return pay

    def began(self) -> str:
        """When the session began, in the form of `Facts.recorded_at`."""
        with self._book() as book:
            return str(book["began"])

    def spent(self) -> tuple[int, Decimal, int]:
        """How many live calls of models ended, what they cost in USD, and how many of them had no known cost."""
        with self._book() as book:
            return book["calls"], self._sums(book)[0], book["unpriced"]

    def _most(self, call: ProviderCall) -> Decimal:
        usage = estimate_usage(call.request, "")
        most = Usage(fresh_input=usage.fresh_input, output=output_limit(call.params) or _OUTPUT)
        try:
            return call.prices.cost(call.model, most, provider=call.provider)
        except PriceUnknown as error:
            if self.cap is None:
                return Decimal(0)
            raise RecordingError(
                f"a call of {call.model!r} was not made: --modelroute-max-usd cannot count it. {error}"
            ) from None

    def _sums(self, book: dict[str, Any]) -> tuple[Decimal, Decimal]:
        return Decimal(book["spent"]), sum(map(Decimal, book["reserved"].values()), Decimal(0))

    @contextmanager
    def _book(self) -> Generator[dict[str, Any]]:
        try:
            part_of(self._state, FOLDER)
            with locked(self._state, str(self.path)):
                before, book = self._read()
                yield book
                after = json.dumps(book)
                if after != before:
                    self.path.write_text(after, "utf-8")
        except OSError as error:
            raise CassetteError(f"{self.path}: what is spent cannot be noted down: {error.strerror}") from error

    def _read(self) -> tuple[str, dict[str, Any]]:
        try:
            text = self.path.read_text("utf-8")
            return text, cast("dict[str, Any]", json.loads(text))
        except FileNotFoundError:
            began = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            return "", {"began": began, "spent": "0", "reserved": {}, "calls": 0, "unpriced": 0}
        except ValueError as error:
            raise CassetteError(f"{self.path}: what was spent cannot be read: {error}; delete the file") from None
