"""From the attributes of a test class to its promises, with one clear error for everything that is wrong with them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from pytest_modelroute.errors import PromiseError
from pytest_modelroute.invariants.contradictions import contradictions
from pytest_modelroute.invariants.promises import (
    NAMES,
    AgentPromise,
    BudgetPromise,
    Capability,
    Cascade,
    Classifier,
    Promises,
)
from pytest_modelroute.providers.prices import Price

_METHODS: Final = ("make_router", "ask", "stream", "spend_of", "cost_of")
_OTHERS: Final = ("known_violations", *_METHODS)
_SIMILAR: Final = 0.75


def read_promises(kind: type[Any]) -> Promises:
    """
    The promises of a class.

    Raises:
        PromiseError: Lists everything that is wrong with them.

    """
    name = kind.__name__
    problems = [*_misspelt(kind), *_missing(kind)]
    if problems:
        raise PromiseError("\n".join(f"{name}: {problem}" for problem in problems))
    promises: Promises | None = None
    read: dict[str, Any] = {**_READ, "golden": partial(_golden, kind)}
    try:
        promises = Promises(
            **{part: read[part](getattr(kind, part)) for part in NAMES if getattr(kind, part, None) is not None},
            has_spend_of=getattr(kind, "spend_of", None) is not None,
            has_cost_of=getattr(kind, "cost_of", None) is not None,
        )
        problems = list(contradictions(promises))
    except (TypeError, ValueError, InvalidOperation, AttributeError) as error:
        problems = [str(error)]
    if problems or promises is None:
        raise PromiseError("\n".join(f"{name}: {problem}" for problem in problems))
    return promises


def _misspelt(kind: type[Any]) -> list[str]:
    """Attributes that are almost a promise: one that is not read is not checked."""
    from pytest_modelroute.invariants.harness import RoutingInvariants

    known = {*NAMES, *_OTHERS, *vars(RoutingInvariants)}
    own = [
        name
        for base in kind.__mro__
        if base not in RoutingInvariants.__mro__
        for name in vars(base)
        if not name.startswith(("_", "test")) and name not in known
    ]
    pairs = ((name, get_close_matches(name, [*NAMES, *_OTHERS], n=1, cutoff=_SIMILAR)) for name in own)
    return [f"{name!r} is no promise; did you mean {near[0]!r}?" for name, near in pairs if near]


def _missing(kind: type[Any]) -> list[str]:
    from pytest_modelroute.invariants.harness import RoutingInvariants

    missing: list[str] = []
    if not getattr(kind, "tiers", None):
        missing.append(
            'tiers is missing: the models as asked for on the wire, weakest first, such as ("gpt-5-nano", "gpt-5")'
        )
    missing += [
        f"{method}({arguments}) is missing: {what}"
        for method, arguments, what in (
            ("make_router", "self, providers", "it builds the router as production does"),
            ("ask", "self, router, request", "it asks the router and returns its answer"),
        )
        if getattr(kind, method) is getattr(RoutingInvariants, method)
    ]
    return missing


def _names(what: str) -> Any:
    def read(value: Any) -> tuple[str, ...]:
        given = (value,) if isinstance(value, str) else value
        if not isinstance(given, Sequence | set | frozenset) or not all(
            isinstance(item, str) and item for item in cast("Any", given)
        ):
            raise TypeError(f"{what} = {value!r}: names were expected, such as ('gpt-5-nano', 'gpt-5')")
        return tuple(cast("Any", given))

    return read


def _fallbacks(value: Any) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(value, Mapping):
        raise TypeError(f"fallbacks = {value!r}: {{model: (next, ...)}} was expected")
    table = cast("Mapping[str, Any]", value)
    return {head: _names(f"fallbacks[{head!r}]")(chain) for head, chain in table.items()}


def _classifier(value: Any) -> Classifier:
    if not isinstance(value, Classifier):
        raise TypeError(f"classifier = {value!r}: Classifier(model, labels={{label: tier}}) was expected")
    return value


def _budget(value: Any) -> BudgetPromise:
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return BudgetPromise(value)
    if not isinstance(value, BudgetPromise):
        raise TypeError(f"budget = {value!r}: BudgetPromise(usd, window=..., timezone=...) was expected")
    return value


def _cascade(value: Any) -> Cascade | None:
    if value is True:
        return Cascade()
    if isinstance(value, Cascade) or value is False:
        return value or None
    if isinstance(value, Mapping):
        return Cascade(**cast("Any", value))
    return Cascade(tiers=_names("cascade")(value))


def _agents(value: Any) -> Mapping[str, AgentPromise]:
    if not isinstance(value, Mapping):
        raise TypeError(f"agents = {value!r}: {{name: AgentPromise(model, tools=(...))}} was expected")
    found: dict[str, AgentPromise] = {}
    for name, agent in cast("Mapping[str, Any]", value).items():
        if isinstance(agent, str):
            found[name] = AgentPromise(agent)
        elif isinstance(agent, AgentPromise):
            found[name] = agent
        elif isinstance(agent, Mapping):
            table = cast("Mapping[str, Any]", agent)
            found[name] = AgentPromise(table["model"], tuple(table.get("tools", ())))
        else:
            found[name] = AgentPromise(agent.model, tuple(getattr(tool, "name", tool) for tool in agent.tools))
    return found


def _balanced(value: Any) -> Mapping[str, float] | None:
    if value is False:
        return None
    if value is True:
        return {}
    return (
        dict(cast("Any", value)) if isinstance(value, Mapping) else dict.fromkeys(_names("load_balanced")(value), 1.0)
    )


def _monotone(value: Any) -> tuple[Any, ...]:
    from pytest_modelroute.invariants.rewrites import HARDER

    if value is True:
        return HARDER
    if value is False:
        return ()
    return (value,) if isinstance(value, str) or callable(value) else tuple(value)


def _rewrites(value: Any) -> tuple[Any, ...]:
    if isinstance(value, Mapping):
        return tuple(cast("Mapping[str, Any]", value).values())
    return (value,) if isinstance(value, str) or callable(value) else tuple(value)


def _capabilities(value: Any) -> Mapping[str, Capability]:
    return {
        name: entry if isinstance(entry, Capability) else Capability(**entry)
        for name, entry in cast("Mapping[str, Any]", value).items()
    }


def _prices(value: Any) -> Mapping[str, Price]:
    return {model: _price(entry) for model, entry in cast("Mapping[str, Any]", value).items()}


def _price(entry: Any) -> Price:
    if isinstance(entry, Price):
        return entry
    parts = ("input", "output", "cache_read", "cache_write")
    given: Any = entry
    table: dict[str, Any] = dict(zip(parts, given, strict=False)) if isinstance(entry, tuple | list) else dict(given)
    return Price(**{part: Decimal(str(usd)) for part, usd in table.items()})


def _golden(kind: type[Any], value: Any) -> Any:
    """Cases as they are given; a file's path from the folder of the class that names it. It is read when it is used."""
    if not isinstance(value, str | Path):
        return value
    owner = next(base for base in kind.__mro__ if "golden" in vars(base))
    file = getattr(sys.modules.get(owner.__module__), "__file__", None)
    return str(Path(file).resolve().parent / value) if file else str(value)


def _exceptions(value: Any) -> tuple[type[BaseException], ...]:
    given = (value,) if isinstance(value, type) else tuple(value)
    if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in given):
        raise TypeError(f"refuses = {value!r}: classes of exceptions were expected, such as (ValueError,)")
    return given


def _predicate(value: Any) -> Any:
    """A function of the class is handed to us as it is, without the instance."""
    if not callable(value):
        raise TypeError(f"critical = {value!r}: a function of the request was expected, such as lambda r: r.critical")
    return value


def _cooldown(value: Any) -> Any:
    return dict(cast("Any", value)) if isinstance(value, Mapping) else float(value)


def _as_is(value: Any) -> Any:
    return value


def _recoverable(value: Any) -> frozenset[str]:
    return frozenset(_names("recoverable")(value))


def _parameters(value: Any) -> Mapping[str, Mapping[str, Any]]:
    return {model: dict(table) for model, table in cast("Mapping[str, Any]", value).items()}


def _usd(value: Any) -> Decimal:
    return Decimal(str(value))


_READ: Final[Mapping[str, Any]] = {
    "tiers": _names("tiers"),
    "safe_tier": str,
    "classifier": _classifier,
    "fallbacks": _fallbacks,
    "recoverable": _recoverable,
    "retries": _as_is,
    "deadline": float,
    "honours_retry_after": bool,
    "cooldown": _cooldown,
    "streams": bool,
    "budget": _budget,
    "critical": _predicate,
    "cascade": _cascade,
    "hedge_after": float,
    "equivalences": _rewrites,
    "monotone": _monotone,
    "load_balanced": _balanced,
    "parameters": _parameters,
    "steps": dict,
    "agents": _agents,
    "coordinator": str,
    "capabilities": _capabilities,
    "categories": dict,
    "options": _names("options"),
    "max_overdraft": _usd,
    "refuses": _exceptions,
    "helpers": _names("helpers"),
    "answers": _as_is,
    "corpus": _names("corpus"),
    "prices": _prices,
}
