"""Binding laws to a class: a test method for each that its promises switch on, and what is wrong with the class."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, cast

from pytest_modelroute.errors import PromiseError
from pytest_modelroute.invariants.attributes import note_values
from pytest_modelroute.invariants.declared import read_promises
from pytest_modelroute.invariants.harness import ALWAYS
from pytest_modelroute.invariants.law import Law, all_laws, promised
from pytest_modelroute.invariants.promises import Promises


def bind(kind: type[Any]) -> None:
    """
    Give a class its tests.

    What is wrong with it is kept for pytest to raise as a usage error: an exception here would be the traceback of an
    import. A class without anything of its own yet (a base for others) has no tests.
    """
    kind._modelroute_problem = None  # noqa: SLF001 - ours
    for law_id in all_laws():
        _set(kind, law_id, None)
    try:
        promises = read_promises(kind)
        problems = list(_wrong_violations(kind, promises))
        if problems:
            raise PromiseError("\n".join(problems))  # noqa: TRY301 - one way to tell
    except PromiseError as error:
        kind._modelroute_problem = str(error)  # noqa: SLF001
        _set(kind, ALWAYS, all_laws()[ALWAYS])
        return
    kind._modelroute_promises = promises  # noqa: SLF001
    note_values(kind)
    for law in all_laws().values():
        if law.binds(promises):
            _set(kind, law.id, law)


def promises_of(kind: type[Any]) -> Promises:
    """
    The promises of a bound class.

    Raises:
        PromiseError: It was not bound, since something is wrong with it.

    """
    if kind._modelroute_problem is not None:  # noqa: SLF001
        raise PromiseError(kind._modelroute_problem)  # noqa: SLF001
    promises: Promises = kind._modelroute_promises  # noqa: SLF001
    return promises


def law_named(kind: type[Any], law_id: str) -> Law:
    """
    A law that binds a class.

    Raises:
        PromiseError: There is none of this id, or the class does not promise what it needs.

    """
    laws = all_laws()
    if law_id not in laws:
        near = get_close_matches(law_id, laws, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(laws)}"
        raise PromiseError(f"{kind.__name__}: there is no law {law_id!r}; {hint}")
    law = laws[law_id]
    if not law.binds(promises_of(kind)):
        raise PromiseError(f"{kind.__name__}: the law {law_id!r} is not checked, {_why_not(law, promises_of(kind))}")
    return law


def _why_not(law: Law, promises: Promises) -> str:
    missing = [name for name in law.needs if not promised(promises, name)]
    return f"since the class promises no {' and '.join(missing)}" if missing else "as its other promises rule it out"


def unpromised(promises: Promises) -> dict[str, list[str]]:
    """Promise -> the laws that are not checked, since it was not made."""
    found: dict[str, list[str]] = {}
    for law in all_laws().values():
        if law.binds(promises) or not law.needs:  # one of every router is ruled out by another promise alone
            continue
        missing = [name for name in law.needs if not promised(promises, name)]
        found.setdefault(missing[0] if missing else "more than one candidate", []).append(law.id)
    return found


def _wrong_violations(kind: type[Any], promises: Promises) -> Iterator[str]:
    laws, known = all_laws(), cast("Mapping[str, object]", dict(kind.known_violations))
    for law_id, reason in known.items():
        where = f"{kind.__name__}: known_violations"
        if law_id not in laws:
            near = get_close_matches(law_id, laws, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(laws)}"
            yield f"{where}: there is no law {law_id!r}; {hint}"
        elif not laws[law_id].binds(promises):
            yield f"{where}: {law_id!r} is not checked, {_why_not(laws[law_id], promises)}"
        if not isinstance(reason, str) or not reason.strip():
            yield f"{where}[{law_id!r}]: why it is known was expected, with a link"


def _set(kind: type[Any], law_id: str, law: Law | None) -> None:
    name = f"test_{law_id}"
    own = vars(kind).get(name)
    if own is not None and not hasattr(own, "modelroute_law"):
        return  # a test of the user's own
    setattr(kind, name, None if law is None else _test_of(law))


def _test_of(law: Law) -> Callable[..., None]:
    def test(self: Any, routing_laws: Any) -> None:
        __tracebackhide__ = True
        routing_laws(type(self), law.id)

    test.__name__ = f"test_{law.id}"
    test.__qualname__ = test.__name__
    test.__doc__ = law.says
    test.modelroute_law = law.id  # type: ignore[attr-defined]
    return test
