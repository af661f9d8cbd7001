"""A scene as code that can be pasted: what differs from the defaults, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from inspect import signature
from typing import cast

from pytest_modelroute import faults
from pytest_modelroute.invariants.requests import RoutingRequest, unlike_default
from pytest_modelroute.wire.faults import Fault


def code_of(value: object) -> str:
    """An expression that makes the value again."""
    if isinstance(value, RoutingRequest):
        return repr(value)
    if isinstance(value, Fault):
        return _fault(value)
    if is_dataclass(value) and not isinstance(value, type):
        said = [f"{name}={code_of(part)}" for name, part in unlike_default(value).items()]
        if type(value).__name__ == "Fails":
            said = [entry.removeprefix("fault=") for entry in said]
        return f"{type(value).__name__}({', '.join(said)})"
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return f"{{{', '.join(f'{code_of(key)}: {code_of(item)}' for key, item in items)}}}"
    if isinstance(value, tuple):
        parts = [code_of(part) for part in cast("Iterable[object]", value)]
        return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
    return repr(value)


def _fault(fault: Fault) -> str:
    if fault.name in _NEEDS:
        return f"faults.{fault.name}({getattr(fault, _NEEDS[fault.name])!r})"
    made = getattr(faults, fault.name)()
    changed = [
        (part.name, f"{part.name}={getattr(fault, part.name)!r}")
        for part in fields(fault)
        if getattr(fault, part.name) != getattr(made, part.name)
    ]
    taken = signature(getattr(faults, fault.name)).parameters
    code = f"faults.{fault.name}({', '.join(said for name, said in changed if name in taken)})"
    others = [said for name, said in changed if name not in taken]
    return f"replace({code}, {', '.join(others)})" if others else code


_NEEDS: Mapping[str, str] = {"another_model": "model", "slow_first_token": "first_token_s"}
"Faults that cannot be made without an argument -> where they keep it."


def names_in(code: str) -> list[str]:
    """The names of this room that a piece of code uses, for its import."""
    known = ("Act", "Ask", "Fails", "Good", "RoutingRequest", "Scene", "Script")
    return [name for name in known if f"{name}(" in code]
