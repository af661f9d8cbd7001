"""Amounts: what the router under test says that it has spent, by `spend_of` and `cost_of`, and how they are read."""

from __future__ import annotations

import inspect
from decimal import Decimal, InvalidOperation
from typing import Any

from pytest_modelroute.errors import SubjectError
from pytest_modelroute.invariants.promises import Promises


def usd(amount: Decimal) -> str:
    """An amount to be read."""
    shown = f"{amount:.7f}".rstrip("0").rstrip(".")
    return f"{shown} USD"


class Amounts:
    """Asks the test class for its router's own books; None where it has none."""

    def __init__(self, subject: Any, promises: Promises, *, name: str) -> None:
        """
        Ask nothing yet.

        Args:
            subject: An instance of the test class.
            promises: Say which of the two it has.
            name: The class's name, for messages.

        """
        self._subject = subject
        self._promises = promises
        self._name = name

    def spent(self, router: Any) -> Decimal | None:
        """USD that a router says it has spent."""
        return self._amount("spend_of", self._asked("spend_of", router)) if self._promises.has_spend_of else None

    async def aspent(self, router: Any) -> Decimal | None:
        """The same, where `spend_of` may be async."""
        if not self._promises.has_spend_of:
            return None
        value = self._asked("spend_of", router)
        return self._amount("spend_of", await value if inspect.isawaitable(value) else value)

    def cost(self, router: Any, response: Any) -> Decimal | None:
        """USD that a router says a response cost."""
        return self._amount("cost_of", self._asked("cost_of", router, response)) if self._promises.has_cost_of else None

    async def acost(self, router: Any, response: Any) -> Decimal | None:
        """The same, where `cost_of` may be async."""
        if not self._promises.has_cost_of:
            return None
        value = self._asked("cost_of", router, response)
        return self._amount("cost_of", await value if inspect.isawaitable(value) else value)

    def _asked(self, method: str, *args: Any) -> Any:
        try:
            return getattr(self._subject, method)(*args)
        except Exception as error:
            raise SubjectError(f"{self._name}.{method} raised {type(error).__name__}: {error}") from error

    def _amount(self, method: str, value: object) -> Decimal:
        try:
            amount = value if isinstance(value, Decimal) else Decimal(str(value))
        except InvalidOperation:
            amount = Decimal("NaN")
        if not amount.is_finite():
            raise SubjectError(f"{self._name}.{method} returned {value!r}; an amount of USD was expected")
        return amount
