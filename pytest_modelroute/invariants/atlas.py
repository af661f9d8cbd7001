"""
The atlas: what a few plain requests show of a router before its laws are tried.

Which model which request reaches (so that every chain can be tried), how the classifier's calls look, and which words
the router's own code knows (so that texts can be made around them).
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from pytest_modelroute.errors import SubjectError
from pytest_modelroute.invariants.player import Signatures
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.scenes import Act, Ask, Scene, Script
from pytest_modelroute.invariants.seen import Played, SeenAsk
from pytest_modelroute.invariants.sounding import sound
from pytest_modelroute.invariants.stage import Stage
from pytest_modelroute.wire.places import is_users

PROBES: Final = (
    "Where is my order?",
    "What is the capital of France?",
    "Explain step by step why the sky is blue, compare it with a sunset on Mars, and analyse the physics in detail.",
    "def add(a, b):\n    return a - b\n\nDebug this Python function and prove that the fix is right for all integers.",
    "I was charged twice, my contract is about to be cancelled and the legal department wants an answer. "
    "Write a careful response that considers the refund policy, the regulation and the risk. " * 4,
    "word " * 600,
)
"From the easiest to the hardest, for whatever a router goes by: words, length, code, questions."
_WAYS: Final = 6
"How many requests are kept for each model."
_WORDS: Final = 40
_MOST_WORDS: Final = 240
_DEPTH: Final = 5
"How deep values of the code are looked into."
_LONG: Final = 200
"Characters of a text in the code from which on it is no list of words."


@dataclass(frozen=True, slots=True)
class Way:
    """A request that reached a model, and what the classifier answered."""

    request: RoutingRequest
    label: str | None = None
    model: str = ""

    def ask(self, **changes: Any) -> Ask:
        """The request again, with other moments or conditions."""
        return replace(Ask(request=self.request, label=self.label), **changes)

    def scene(self, script: Script | None = None, *, name: str = "") -> Scene:
        """The scene of this request alone."""
        return Scene(acts=(Act(asks=(self.ask(),), script=script or Script()),), name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Atlas:
    """What was seen of a router."""

    ways: dict[str, tuple[Way, ...]] = field(default_factory=dict[str, tuple[Way, ...]])
    "Model -> requests that it answers where nothing fails."
    vocabulary: tuple[str, ...] = ()
    "Words in the router's own code."
    keywords: tuple[str, ...] = ()
    "Those words that move a route, where one of the laws has a use for them."
    boundaries: tuple[int, ...] = ()
    "The lengths of a plain text at which its route changes: the first length of the new route."
    learned: Signatures | None = None
    is_async: bool = False
    leftovers: tuple[str, ...] = ()
    "Tasks and threads that a plain request left running."
    providers: dict[str, str] = field(default_factory=dict[str, str])
    "Model -> the provider that it was asked at."


def survey(stage: Stage, promises: Promises, kind: type[Any]) -> Atlas:
    """
    Ask a router a few plain requests, and see.

    Args:
        stage: Plays them.
        promises: Those of the class.
        kind: The class, whose methods lead to the router's code.

    Raises:
        SubjectError: It makes no provider call, or asks for models that it does not declare.

    """
    name = kind.__name__
    played: list[Played] = []
    ways: dict[str, list[Way]] = {}
    providers: dict[str, str] = {}
    for way in _probes(promises):
        scene = way.scene()
        seen = stage.play(scene)
        played.append(seen)
        ask = seen.only
        if len(played) == 1:
            _check_first(ask, promises, seen, name)
        providers.update({call.model: call.provider for call in ask.calls})
        if ask.route is not None and len(ways.setdefault(ask.route, [])) < _WAYS:
            ways[ask.route].append(Way(way.request, way.label, ask.route))
        if promises.classifier is not None and stage.learned is None and len(played) % 4 == 0:
            stage.learned = _learn(played, promises)
    words = vocabulary(stage.last_router, kind)
    heeded, boundaries = sound(stage, promises, words) if promises.equivalences or promises.monotone else ((), ())
    return Atlas(
        ways={model: tuple(found) for model, found in ways.items()},
        vocabulary=tuple(words[:_WORDS]),
        keywords=heeded,
        boundaries=boundaries,
        learned=stage.learned,
        is_async=stage.is_async,
        leftovers=tuple(dict.fromkeys(left for seen in played for left in seen.leftovers)),
        providers=providers,
    )


def _probes(promises: Promises) -> Iterator[Way]:
    labels: Sequence[str | None] = tuple(promises.classifier.labels) if promises.classifier else (None,)
    steps: Sequence[str | None] = [s for s, m in (promises.steps or {}).items() if m is not None] or (None,)
    categories: Sequence[str | None] = (None, *promises.category_tiers) if "category" in promises.options else (None,)
    for prompt in (*PROBES, *promises.corpus[:_WAYS]):
        for label in labels:
            for step in steps:
                yield Way(RoutingRequest(prompt=prompt, step=step), label)
    for category in categories[1:]:
        for step in steps:
            yield Way(RoutingRequest(prompt=PROBES[0], category=category, step=step))


def _check_first(ask: SeenAsk, promises: Promises, seen: Played, name: str) -> None:
    """The plainest request of all must be answered by a provider, or nothing that follows says anything."""
    if seen.endless is not None:
        raise SubjectError(f"{name}.ask never returns, even for a plain request with healthy providers: {seen.endless}")
    if not ask.calls:
        came = f"raised {type(ask.error).__name__}: {ask.error}" if ask.error else f"returned {ask.response!r}"[:200]
        raise SubjectError(
            f"{name}.ask made no provider call, and {came}.\n"
            "Calls are seen on httpx, httpx2, aiohttp and http.client (requests, urllib3, boto3); any other client is "
            "given providers.url(name) as its base URL"
        )
    if ask.error is not None:
        raise SubjectError(
            f"{name}.ask raised on a plain request with healthy providers: {type(ask.error).__name__}: {ask.error}"
        ) from ask.error
    unknown = [call.model for call in ask.calls if call.model not in promises.known_models and call.role == "answer"]
    if unknown:
        raise SubjectError(
            f"{name}: a plain request went to {unknown[0]!r}, which is neither in tiers nor in a chain of fallbacks; "
            f"declared are: {', '.join(sorted(promises.known_models))}.\n"
            "Models are compared as they are asked for on the wire: write them so, or add what is missing "
            "(helpers = (...) for judges and guards)"
        )


def _learn(played: Sequence[Played], promises: Promises) -> Signatures | None:
    """How the calls of the classifier's model look, from requests that were classified and answered by another."""
    from pytest_modelroute.invariants.player import looks_of

    assert promises.classifier is not None  # noqa: S101 - the caller's condition
    classifications: set[Any] = set()
    answers: set[Any] = set()
    for seen in played:
        calls = [call for call in seen.only.calls if call.model == promises.classifier.model]
        if len(seen.only.calls) > 1 and calls and calls[0] is seen.only.calls[0]:
            classifications.add(looks_of(calls[0]))
            answers |= {looks_of(call) for call in calls[1:]}
    if not classifications:
        return None
    return Signatures(frozenset(classifications), frozenset(answers))


def vocabulary(router: object, kind: type[Any] | None = None) -> list[str]:
    """
    The words in the code of a router: its keywords, labels, names of categories.

    From the constants of the functions, and the values, of the user's own modules that its class lives in, or that
    the `ask` of the test class calls, and from what the router holds.
    """
    words: dict[str, None] = {}
    for holder in dict.fromkeys((*_modules_of(router), *_modules_used(kind))):
        for value in list(vars(holder).values()):
            _collect(value, words, holder.__name__, depth=0)
    _collect(dict(getattr(router, "__dict__", {})), words, "", depth=0)
    chosen = [word for word in words if re.fullmatch(r"[a-z][a-z -]{2,24}", word, re.IGNORECASE)]
    return sorted(chosen, key=lambda word: (len(word), word))[:_MOST_WORDS]


def _modules_of(router: object) -> Iterator[types.ModuleType]:
    target: Any = router if isinstance(router, types.FunctionType) else type(router)
    for kind in getattr(target, "__mro__", (target,)):
        yield from _users_module(getattr(kind, "__module__", ""))


def _modules_used(kind: type[Any] | None) -> Iterator[types.ModuleType]:
    """The modules of the functions that the methods of the test class name: a router may be a plain function."""
    for method in ("ask", "make_router"):
        function: Any = getattr(kind, method, None)
        code = getattr(function, "__code__", None)
        for name in () if code is None else code.co_names:
            value: Any = function.__globals__.get(name)
            home = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
            yield from _users_module(home or "")


def _users_module(name: str) -> Iterator[types.ModuleType]:
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if module is not None and isinstance(file, str) and is_users(file):
        yield module


def _collect(value: object, words: dict[str, None], home: str, *, depth: int) -> None:
    if isinstance(value, str):
        words.update(dict.fromkeys(_words_in(value)))
    elif depth < _DEPTH:
        for inner in _inside(value, home):
            _collect(inner, words, home, depth=depth + 1)


def _inside(value: Any, home: str) -> Iterable[object]:
    """What lies inside of a value of a module: constants of its functions, members of its classes, items."""
    if isinstance(value, staticmethod | classmethod | types.MethodType | property):
        wrapper: Any = cast("Any", value)
        return (getattr(wrapper, "__func__", None) or getattr(wrapper, "fget", None),)
    if isinstance(value, types.CodeType):
        return value.co_consts
    if isinstance(value, re.Pattern):
        return (str(cast("re.Pattern[Any]", value).pattern)[:_LONG],)
    if isinstance(value, dict | list | tuple | set | frozenset):
        items: Any = cast("Any", value)
        return list(items.items() if isinstance(value, dict) else items)[:100]
    own = getattr(value, "__module__", None) == home
    code = (value.__code__,) if isinstance(value, types.FunctionType) else ()
    return (*code, *getattr(value, "__dict__", {}).values()) if own else ()


def _words_in(text: str) -> Iterator[str]:
    """The words of a text in the code, and the whole of a short one, since a phrase is a keyword too."""
    if len(text) > _LONG:  # a prompt, a page
        return
    plain = re.sub(r"\\[A-Za-z]", " ", text)  # of a pattern: the b of \berror belongs to no word
    yield plain
    yield from re.findall(r"[A-Za-z][A-Za-z-]{2,24}", plain)
