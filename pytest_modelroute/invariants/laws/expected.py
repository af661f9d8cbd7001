"""Routes that are known beforehand: named by the request itself, or by golden cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from pytest_modelroute.errors import PromiseError
from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.laws._choices import ended, excused, labels_of, reached
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.scenes import Scene, one
from pytest_modelroute.invariants.seen import Played, SeenAsk, Trial

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.evaluation.cases import Case
    from pytest_modelroute.invariants.atlas import Atlas, Way

_SAYS: Final = ("", " Answer {name}.", " Route this to {name}.")
"What the prompt says besides, of somebody else."


def _explicit_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import ways

    wishes: list[tuple[str, str]] = []
    if "category" in promises.options:
        wishes += [("category", category) for category in promises.category_tiers]
    if "model" in promises.options:
        wishes += [("model", tier) for tier in promises.tiers]
    others = (*promises.category_tiers, *promises.tiers)

    def build(way: Way, wish: tuple[str, str], says: str, other: str) -> Sequence[Scene]:
        kind, name = wish
        prompt = way.request.prompt.strip() + (says.format(name=other) if other != name else "")
        request = RoutingRequest(
            prompt=prompt,
            step=way.request.step,
            category=name if kind == "category" else None,
            options={"model": name} if kind == "model" else {},
        )
        return [one(request, label=_label_elsewhere(promises, _wished(promises, request)))]

    if not wishes:
        return st.nothing()
    return st.builds(
        build, ways(promises, atlas), st.sampled_from(wishes), st.sampled_from(_SAYS), st.sampled_from(others)
    )


def _wished(promises: Promises, request: RoutingRequest) -> str | None:
    """The model that a request names."""
    if request.category is not None:
        return promises.category_tiers.get(request.category)
    model: str | None = request.options.get("model")
    return model


def _label_elsewhere(promises: Promises, tier: str | None) -> str | None:
    """A label that leads to another tier, should the classifier be asked all the same."""
    return next((label for label, leads in labels_of(promises).items() if leads != tier), None)


def _explicit(promises: Promises, trial: Trial) -> Violation | None:
    ask = trial[0].only
    request = ask.ask.request
    wished = _wished(promises, request)
    if wished is None or _obeyed(promises, ask, wished) or excused(promises, ask):
        return None
    named = f"category {request.category!r}" if request.category is not None else f"model {wished!r}"
    return Violation(expected=f"{wished}, since the request names the {named}", seen=ended(ask))


def _obeyed(promises: Promises, ask: SeenAsk, wished: str) -> bool:
    """
    Whether a request went where it wished.

    Lenient where another promise may come first: a step that has a model of its own, a group of candidates that a tier
    is split among, a cascade that begins below, a race of several.
    """
    step: Any = (promises.steps or {}).get(ask.ask.request.step or "")
    if step is not None and (callable(step) or step in (ask.head, ask.route)):
        return True
    if promises.load_balanced is not None and ask.head in promises.load_balanced:
        return True
    if promises.cascade is not None:
        return ask.head in promises.known_models
    return reached(ask, wished) or (promises.hedge_after is not None and wished in ask.models)


register(
    Law(
        id="explicit_route",
        family="selection",
        says="a category or a model that the request names is obeyed, whatever its text says.",
        why="a caller who knows better, such as a test or an expert's tool, is overruled by a guess.",
        needs=("option category or option model",),
        advice="look at request.category and at the model that is asked for before anything is guessed from the text",
        scenes=_explicit_scenes,
        judge=_explicit,
        examples=0.6,
        idle="requests may name a category, but none is declared; give {category: tier} as `categories`",
    )
)


_GOLDEN: Final = "golden case "
_SIZES: Final[Mapping[int, tuple[str, ...]]] = {2: ("small", "large"), 3: ("small", "medium", "large")}


def _cases(promises: Promises) -> dict[str, Case]:
    """
    The golden cases by their ids.

    Raises:
        CasesError: They cannot be read.
        PromiseError: One expects no route, or one that nobody knows.

    """
    from pytest_modelroute.evaluation.cases import load_cases

    cases = load_cases(cast("Any", promises.golden))
    for case in cases:
        if not case.expected_routes:
            raise PromiseError(f"golden: the case {case.id!r} has no expected_route: a tier, or a list of tiers")
        for name in case.expected_routes:
            if _model(promises, name) is None:
                known = ", ".join(dict.fromkeys((*promises.tiers, *promises.category_tiers)))
                raise PromiseError(
                    f"golden: the case {case.id!r} expects the route {name!r}, which is neither a model nor a label of "
                    f"this router; known are: {known}"
                )
    return {case.id: case for case in cases}


def _model(promises: Promises, name: str) -> str | None:
    """The model that an expected route means: a model, a label or category, or a size."""
    if name in promises.known_models:
        return name
    if name in promises.category_tiers:
        return promises.category_tiers[name]
    sizes = _SIZES.get(len(promises.tiers), ())
    return promises.tiers[sizes.index(name)] if name in sizes else None


def _expected(promises: Promises, case: Case) -> list[str]:
    return [model for name in case.expected_routes if (model := _model(promises, name)) is not None]


def _request(inputs: Any, step: str | None) -> RoutingRequest:
    """What a case asks: its text, or a field that holds one."""
    if isinstance(inputs, Mapping):
        table = cast("Mapping[str, Any]", inputs)
        known = {name: value for name, value in table.items() if name in RoutingRequest.__dataclass_fields__}
        if "prompt" in known:
            return RoutingRequest(**cast("dict[str, Any]", {"step": step, **known}))
        inputs = next((value for value in table.values() if isinstance(value, str)), str(table))
    return RoutingRequest(prompt=inputs if isinstance(inputs, str) else str(inputs), step=step)


def _golden_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import first_step

    del atlas
    scenes: list[Scene] = []
    for case in _cases(promises).values():
        expected = _expected(promises, case)
        label = next((label for label, tier in labels_of(promises).items() if tier in expected), None)
        scenes.append(one(_request(case.inputs, first_step(promises)), label=label, name=f"{_GOLDEN}{case.id}"))
    return st.just(scenes)


def _golden(promises: Promises, trial: Trial) -> Violation | None:
    cases = _cases(promises)
    wrong: list[tuple[Played, list[str]]] = []
    for played in trial:
        expected = _expected(promises, cases[played.scene.name.removeprefix(_GOLDEN)])
        ask = played.only
        if not any(reached(ask, model) for model in expected) and not excused(promises, ask):
            wrong.append((played, expected))
    if not wrong:
        return None
    kinds = [_kind(promises, played.only.route, expected) for played, expected in wrong]
    counted = [f"{kinds.count(kind)} {kind}" for kind in ("under-routed", "over-routed", "elsewhere") if kind in kinds]
    first, expected = wrong[0]
    return Violation(
        expected=f"the route of each of {len(trial)} cases; for the {first.scene.name}: {' or '.join(expected)}",
        seen=f"{', '.join(counted)}; the {first.scene.name}: {ended(first.only)}",
        play=first,
    )


def _kind(promises: Promises, route: str | None, expected: Sequence[str]) -> str:
    """Under-routed below all that is expected, over-routed above; elsewhere for what has no rank among the tiers."""
    rank = promises.rank(route)
    ranks = [place for model in expected if (place := promises.rank(model)) is not None]
    if rank is None or not ranks or min(ranks) < rank < max(ranks):
        return "elsewhere"
    return "under-routed" if rank < min(ranks) else "over-routed"


register(
    Law(
        id="golden_routes",
        family="selection",
        says="each golden case takes the route that is expected of it.",
        why="under-routing loses quality, over-routing loses money, and each hides the other in an average.",
        needs=("golden",),
        advice="see which rule decided for this case; where the new route is right, change its expected_route",
        scenes=_golden_scenes,
        judge=_golden,
        each=True,
    )
)
