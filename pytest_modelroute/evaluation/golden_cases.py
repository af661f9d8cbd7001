"""Golden cases: requests whose right route is known, read from the same files as the cases of a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, cast

from pytest_modelroute.errors import CasesError, EvaluationError
from pytest_modelroute.evaluation.cases import Cases, load_cases
from pytest_modelroute.evaluation.routes import Routes

_SIZES: Final = ("small", "medium", "large")
_NO_TEXT: Final = ("role", "type")
"Fields of a message or a part that say what it is; nobody wrote them."


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """The tiers that cases are routed to, weakest first, with one model each."""

    routes: Routes
    tiers: tuple[str, ...]
    models: tuple[str, ...]
    "The model that stands for each tier: the first one declared with it that is no helper."

    @classmethod
    def of(cls, tiers: Routes | Sequence[str]) -> Ladder:
        """
        Read what the settings say, or models as asked for on the wire, weakest first.

        Raises:
            EvaluationError: Fewer than two tiers with a model, or one twice.

        """
        routes = tiers if isinstance(tiers, Routes) else _routes_of(tiers)
        first: dict[str, str] = {}
        for model, tier in sorted(routes.tiers.items(), key=lambda pair: pair[0] in routes.helpers):
            first.setdefault(tier, model)
        order = tuple(tier for tier in routes.order if tier in first)
        if len(order) < 2:  # noqa: PLR2004 - with one there is nothing to choose
            raise EvaluationError(
                f"golden routes need two tiers with a model at least, weakest first; there are: {_list(order)}"
            )
        return cls(routes=routes, tiers=order, models=tuple(first[tier] for tier in order))

    def model(self, route: str) -> str:
        """The model behind a tier or an alias; a model is itself."""
        for model, aliases in self.routes.aliases.items():
            if route == model or route in aliases:
                return model
        return self.models[self.tiers.index(route)] if route in self.tiers else route

    def rank(self, route: str) -> int:
        """The place of a route that `read_golden` has let through."""
        rank = self.routes.rank(route)
        assert rank is not None  # noqa: S101 - it was checked
        return rank

    def always(self, place: int) -> str:
        """
        What the baseline of one tier is called: always-small, always-medium, always-large.

        Where a tier of another place has such a name, and between the ends of more than three, by the tiers' own names.
        """
        sizes = {0: "small", len(self.tiers) - 1: "large"}
        if len(self.tiers) == len(_SIZES):
            sizes[1] = "medium"
        own = any(tier in _SIZES and sizes.get(at) != tier for at, tier in enumerate(self.tiers))
        return f"always-{self.tiers[place] if own or place not in sizes else sizes[place]}"


def _routes_of(tiers: Sequence[str]) -> Routes:
    names = [] if isinstance(tiers, str) else list(tiers)
    if not names or not all(isinstance(cast("object", name), str) and name for name in names):
        raise EvaluationError(f"tiers are models or tiers by name, weakest first, not {tiers!r}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise EvaluationError(f"the tiers name {_list(twice)} more than once; each stands once, weakest first")
    return Routes(aliases=dict.fromkeys(names, ()), tiers={name: name for name in names}, order=names)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCase:
    """A case with the route that it should take."""

    id: str
    inputs: Any
    expected: tuple[str, ...]
    "Models, aliases or tiers, each of which is fine; all of them have a place in the order of tiers."
    slice: str | None
    text: str
    "The inputs as text: what words and tokens are counted in."

    @property
    def words(self) -> int:
        """How many; white space parts them."""
        return len(self.text.split())


def read_golden(
    source: Cases, *, tiers: Ladder | Routes | Sequence[str], folders: Sequence[Path] = ()
) -> tuple[GoldenCase, ...]:
    """
    Read golden cases.

    Args:
        source: As for `load_cases`: a file in JSONL, CSV or YAML, or the cases.
        tiers: What routes there are: those of the settings, or models weakest first.
        folders: Where a relative path is looked for, in this order.

    Raises:
        CasesError: As `load_cases`; a case without an expected route, or with one that has no place among the tiers.
        EvaluationError: The tiers cannot be used.

    """
    ladder = tiers if isinstance(tiers, Ladder) else Ladder.of(tiers)
    cases = load_cases(source, folders=folders)
    name = str(source) if isinstance(source, str | Path) else "the cases given"
    bare = [case.id for case in cases if not case.expected_routes]
    if bare:
        raise CasesError(
            f"{name}: {len(bare)} of {len(cases)} cases have no expected_route, the first {bare[0]!r}; a golden case "
            f"says the route it should take: {_list(ladder.tiers)}, a model, an alias, or a list of them"
        )
    for case in cases:
        for route in case.expected_routes:
            problem = _problem(route, ladder)
            if problem:
                raise CasesError(f"{name}: the case {case.id!r} expects the route {route!r}, {problem}")
    return tuple(
        GoldenCase(
            id=case.id,
            inputs=case.inputs,
            expected=case.expected_routes,
            slice=case.slice,
            text="\n".join(_texts(case.inputs)),
        )
        for case in cases
    )


def _problem(route: str, ladder: Ladder) -> str | None:
    """What is wrong with an expected route."""
    routes = ladder.routes
    if routes.rank(route) is not None and (route not in routes.order or route in ladder.tiers):
        return None
    aliases = [alias for names in routes.aliases.values() for alias in names]
    if route in routes.aliases or route in aliases:
        return f"which has no tier, so that nobody knows what is weaker; the tiers are {_list(ladder.tiers)}"
    if route in routes.order:
        return f"a tier without a model; tiers with one are {_list(ladder.tiers)}"
    known = dict.fromkeys([*ladder.tiers, *routes.tiers, *aliases])
    nearest = get_close_matches(route, known, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are: {_list(known)}"
    return f"which is no model, alias or tier; {hint}"


def _texts(value: object) -> Iterator[str]:
    """The texts in the inputs of a case, whether they are a text, messages, parts, or arguments by name."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in cast("Mapping[Any, Any]", value).items():
            if name not in _NO_TEXT:
                yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in cast("Sequence[Any]", value):
            yield from _texts(inner)


def _list(names: Sequence[str] | Mapping[str, None]) -> str:
    return ", ".join(map(repr, names)) or "none"
