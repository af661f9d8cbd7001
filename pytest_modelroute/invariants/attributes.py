"""The values that a test class declares, and whether a router that was handed them has written to them since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast


def note_values(kind: type[Any]) -> None:
    """Take down what a class declares, when it is bound: before any router was built."""
    kind._modelroute_values = _values(kind)  # noqa: SLF001 - ours


def changed_since_bound(kind: type[Any]) -> tuple[str, ...]:
    """The attributes of a class that are not what they were when it was bound."""
    before: Mapping[str, Any] = getattr(kind, "_modelroute_values", {})
    now = _values(kind)
    return tuple(name for name, value in before.items() if now.get(name) != value)


def _values(kind: type[Any]) -> dict[str, Any]:
    """The attributes that can be written to, of the class and of those that it derives from, up to ours."""
    from pytest_modelroute.invariants.harness import RoutingInvariants

    names = {name for base in kind.__mro__ if base not in RoutingInvariants.__mro__ for name in vars(base)}
    values: dict[str, object] = {name: getattr(kind, name) for name in sorted(names) if not name.startswith("_")}
    return {name: _plain(value) for name, value in values.items() if type(value) in {list, dict, set}}


def _plain(value: object) -> object:
    """A value that compares as the original does now; an object of the user's own is itself, whatever is in it."""
    if isinstance(value, Mapping):
        table = cast("Mapping[object, object]", value)
        return {repr(key): _plain(item) for key, item in table.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("list[object]", value)]
    if isinstance(value, set | frozenset):
        return sorted(repr(item) for item in cast("set[object]", value))
    return value if isinstance(value, str | int | float | None) else id(value)
