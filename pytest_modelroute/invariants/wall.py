"""
`datetime.now()` in the router's own modules, on the virtual clock.

Virtual time moves the clocks of `time`; `datetime.now` reads the machine's in C. In the modules of the user, and in
these alone, the class `datetime` is replaced by one that asks the virtual clock.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pytest_modelroute.wire.places import is_users

if TYPE_CHECKING:
    from pytest_modelroute.wire.virtual_time import VirtualTime


class WallClock:
    """Replaces `datetime` and `date` in modules of the user, from `scan` to `stop`."""

    def __init__(self, clock: VirtualTime) -> None:
        """Replace nothing yet."""
        self._stand_ins = _stand_ins(clock.wall_now)
        self._replaced: list[tuple[dict[str, Any], str, Any]] = []
        self._seen: set[str] = set()

    def scan(self) -> None:
        """Take in the modules that were imported since the last time."""
        for name in sys.modules.keys() - self._seen:
            self._seen.add(name)
            module = sys.modules.get(name)
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and is_users(file):
                self._replace(vars(module))

    def stop(self) -> None:
        """Give the real ones back."""
        while self._replaced:
            namespace, name, original = self._replaced.pop()
            namespace[name] = original
        self._seen.clear()

    def _replace(self, namespace: dict[str, Any]) -> None:
        for name, value in list(namespace.items()):
            for original, stand_in in self._stand_ins:
                if value is original:
                    self._replaced.append((namespace, name, value))
                    namespace[name] = stand_in


def _stand_ins(now: Callable[[], float]) -> list[tuple[Any, Any]]:
    class _Like(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, dt.datetime)

    class VirtualDatetime(dt.datetime, metaclass=_Like):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            return dt.datetime.fromtimestamp(now(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return dt.datetime.fromtimestamp(now(), dt.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return dt.datetime.fromtimestamp(now())  # noqa: DTZ006 - as the real one

    class _LikeDate(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, dt.date)

    class VirtualDate(dt.date, metaclass=_LikeDate):
        @classmethod
        def today(cls) -> Any:
            return dt.datetime.fromtimestamp(now()).date()  # noqa: DTZ006 - as the real one

    module = ModuleType("datetime")
    module.__dict__.update({**vars(dt), "datetime": VirtualDatetime, "date": VirtualDate})
    return [(dt.datetime, VirtualDatetime), (dt.date, VirtualDate), (dt, module)]
