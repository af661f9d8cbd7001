"""Playing a scene: whatever style a router is written in, and what is taken down of it."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any, ClassVar

import httpx
import pytest

from pytest_modelroute import faults as stock
from pytest_modelroute.errors import SubjectError
from pytest_modelroute.invariants import Act, Ask, Fails, Good, RoutingInvariants, RoutingRequest, Scene, Script
from pytest_modelroute.invariants.binding import promises_of
from pytest_modelroute.invariants.laboratory import Laboratory
from pytest_modelroute.invariants.seen import Played
from pytest_modelroute.invariants.stage import Stage

MODEL = "gpt-5-nano"
faults: Any = stock


class Router:
    """Calls its model, synchronously or not, whole or piece by piece."""

    def __init__(self, url: str) -> None:
        """Keep the address."""
        self.url = f"{url}/chat/completions"
        self.lock = threading.Lock()
        self.seen: list[str] = []

    def body(self, prompt: str) -> dict[str, Any]:
        """The request."""
        return {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}

    def call(self, prompt: str) -> str:
        """One call."""
        reply = httpx.post(self.url, json=self.body(prompt), headers={"authorization": "Bearer sk-1"}, timeout=50)
        return str(reply.json()["choices"][0]["message"]["content"])

    async def acall(self, prompt: str) -> str:
        """One call."""
        async with httpx.AsyncClient() as client:
            reply = await client.post(self.url, json=self.body(prompt), timeout=50)
        return str(reply.json()["choices"][0]["message"]["content"])


class Base(RoutingInvariants):
    """A router of one model."""

    tiers: ClassVar[Any] = (MODEL,)

    def make_router(self, providers: Any) -> Any:
        """Build it."""
        return Router(providers.url("openai"))

    def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        return router.call(request.prompt)


def play(kind: type[RoutingInvariants], *acts: Act, times: int = 1) -> Played:
    """Play a scene with a fresh router; the last time counts."""
    laboratory = Laboratory()
    with laboratory.open():
        stage = Stage(kind(), promises_of(kind), laboratory, name=kind.__name__)
        for _ in range(times):
            played = stage.play(Scene(acts=acts))
    return played


def asks(*moments: float, **changes: Any) -> Act:
    """An act of requests at these moments."""
    request = RoutingRequest(prompt="hi", stream=changes.pop("stream", False))
    script = changes.pop("script", Script(good=Good(text="one two three", latency=1)))
    return Act(asks=tuple(Ask(request=request, at=at, **changes) for at in moments), script=script)


class AsyncDef(Base):
    """`ask` is a coroutine function."""

    async def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        return await router.acall(request.prompt)


class Awaitable(Base):
    """`ask` returns what is to be awaited, as a lambda does; nothing says so before it is called."""

    def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        return router.acall(request.prompt)


class AsyncFactory(Base):
    """`make_router` is a coroutine function, and `ask` is none."""

    async def make_router(self, providers: Any) -> Any:
        """Build it."""
        await asyncio.sleep(5)
        return Router(providers.url("openai"))


class AwaitableFactory(Base):
    """`make_router` returns what is to be awaited."""

    def make_router(self, providers: Any) -> Any:
        """Build it."""

        async def make() -> Router:
            return Router(providers.url("openai"))

        return make()


@pytest.mark.parametrize("kind", [Base, AsyncDef, Awaitable, AsyncFactory, AwaitableFactory])
def test_every_style_is_asked(kind: type[RoutingInvariants]) -> None:
    """The first time, and again when its style is known."""
    ask = play(kind, asks(0), times=2).only
    assert (ask.text, ask.outcome, ask.elapsed, ask.route) == ("one two three", "answered", 1, MODEL)


class Generator(Base):
    """`ask` is a generator."""

    def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        for word in router.call(request.prompt).split(" "):
            time.sleep(1)
            yield word


class AsyncGenerator(Base):
    """`ask` is an asynchronous generator."""

    async def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        for word in (await router.acall(request.prompt)).split(" "):
            await asyncio.sleep(1)
            yield word


class Pieces:
    """An iterator that is no generator, and notes its closing."""

    closed = 0

    def __init__(self, router: Any) -> None:
        """Keep the words."""
        self.words = iter(router.call("hi").split(" "))

    def __iter__(self) -> Iterator[str]:
        """Itself."""
        return self

    def __next__(self) -> str:
        """The next word."""
        time.sleep(1)
        return str(next(self.words))

    def __aiter__(self) -> AsyncIterator[str]:
        """Words for `async for`."""

        async def words() -> AsyncIterator[str]:
            for word in self.words:
                await asyncio.sleep(1)
                yield word

        return words()


class Iterating(Base):
    """`ask` returns an iterator object."""

    def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        return iter(Pieces(router))


class AsyncIterating(Base):
    """`ask` is a coroutine that returns an asynchronous iterable."""

    async def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        return Pieces(router)


class AwaitedIterator(Base):
    """`ask` is a coroutine that returns a plain iterator."""

    async def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        return iter((await router.acall("hi")).split(" "))


class Streaming(Base):
    """`stream` stands beside `ask`."""

    def stream(self, router: Any, request: Any) -> Any:
        """Ask for pieces."""
        return iter(Pieces(router))


@pytest.mark.parametrize("kind", [Generator, AsyncGenerator, Iterating, AsyncIterating, AwaitedIterator])
def test_every_kind_of_iterator_is_read_to_its_end(kind: type[RoutingInvariants]) -> None:
    """Its pieces are taken down, and the time that they took."""
    ask = play(kind, asks(0), times=2).only
    assert ask.chunks == ("one", "two", "three")
    assert ask.elapsed >= 1


def test_stream_is_asked_where_the_request_streams() -> None:
    """And `ask` where it does not."""
    assert play(Streaming, asks(0, stream=True)).only.chunks == ("one", "two", "three")
    assert play(Streaming, asks(0)).only.chunks == ()


@pytest.mark.parametrize("kind", [Generator, AsyncGenerator, Iterating, AsyncIterating])
def test_a_stream_is_closed_after_so_many_chunks(kind: type[RoutingInvariants]) -> None:
    """As a caller does who has read enough."""
    ask = play(kind, asks(0, close_after=2)).only
    assert (ask.chunks, ask.outcome, ask.error) == (("one", "two"), "cancelled", None)


def test_a_caller_gives_up() -> None:
    """The request is cancelled in the middle of its call, and the call ends with it."""
    ask = play(AsyncDef, asks(0, cancel_after=0.25)).only
    assert (ask.outcome, ask.error, ask.elapsed) == ("cancelled", None, 0.25)
    assert [call.error for call in ask.calls] == ["cancelled"]


def test_a_caller_who_would_give_up_later_gets_the_answer() -> None:
    """In time is in time."""
    ask = play(AsyncDef, asks(0, cancel_after=9)).only
    assert (ask.outcome, ask.text) == ("answered", "one two three")


@pytest.mark.parametrize("kind", [Base, AsyncDef])
def test_requests_at_the_same_time_overlap(kind: type[RoutingInvariants]) -> None:
    """Synchronous or not, each begins at its moment."""
    played = play(kind, asks(0, 0, 0.5, 3))
    assert [(ask.started, ask.ended) for ask in played.asks] == [(0, 1), (0, 1), (0.5, 1.5), (3, 4)]


@pytest.mark.parametrize("kind", [Base, AsyncDef])
def test_each_request_has_its_own_calls(kind: type[RoutingInvariants]) -> None:
    """Also among others."""
    played = play(kind, asks(0, 0, 0), asks(0))
    assert [len(ask.calls) for ask in played.asks] == [1, 1, 1, 1]
    assert [call.number for call in played.calls] == [1, 2, 3, 4]


class Locked(Base):
    """A lock is held across the call."""

    def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        with router.lock:
            return router.call(request.prompt)


def test_a_lock_across_a_call_lets_the_requests_through_one_by_one() -> None:
    """It is slow, and no deadlock."""
    played = play(Locked, asks(0, 0, 0))
    assert sorted(ask.ended for ask in played.asks) == [1, 2, 3]


@pytest.mark.parametrize("kind", [Base, AsyncDef])
def test_a_request_alone_begins_at_its_moment(kind: type[RoutingInvariants]) -> None:
    """As it would among others."""
    assert play(kind, asks(2.5)).only.started == 2.5


def test_a_pause_passes_before_its_act() -> None:
    """In virtual time."""
    act = asks(0)
    played = play(Base, act, Act(asks=act.asks, script=act.script, pause=60))
    assert [seen.began for seen in played.acts] == [0, 61]


class Raising(Base):
    """What a router raises is kept."""

    error: ClassVar[type[BaseException]] = ValueError

    def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        router.call(request.prompt)
        raise self.error("no")


class Exiting(Raising):
    """A router from the command line."""

    error = SystemExit


class AsyncExiting(AsyncDef):
    """The same in a loop."""

    async def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        sys.exit(3)


@pytest.mark.parametrize(("kind", "error"), [(Raising, ValueError), (Exiting, SystemExit), (AsyncExiting, SystemExit)])
def test_what_is_raised_is_taken_down(kind: type[RoutingInvariants], error: type[BaseException]) -> None:
    """Also what would end the process."""
    ask = play(kind, asks(0)).only
    assert ask.outcome == "raised"
    assert type(ask.error) is error


class Endless(Base):
    """Calls for ever, and swallows what ends it."""

    def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        for _ in range(250):
            with suppress(BaseException):
                router.call(request.prompt)
        return "done"


def test_calls_without_end_are_seen_where_a_router_swallows_what_ends_them() -> None:
    """The scene ends there."""
    played = play(Endless, asks(0), asks(0))
    assert "more than 200 provider calls" in str(played.endless)
    assert len(played.acts) == 1


@pytest.mark.parametrize("moments", [(0,), (0, 0)])
def test_calls_without_end_end_the_scene_of_requests_at_the_same_time_too(moments: tuple[float, ...]) -> None:
    """Which live in threads."""

    class Calling(Base):
        def ask(self, router: Any, request: Any) -> Any:
            while True:
                router.call(request.prompt)

    assert "more than 200 provider calls" in str(play(Calling, asks(*moments)).endless)


class Waiting(AsyncDef):
    """Waits for what never comes."""

    async def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        await asyncio.Event().wait()


def test_a_wait_for_ever_ends_the_scene() -> None:
    """And says what it waits for."""
    played = play(Waiting, asks(0, 0))
    assert "the event loop would wait for ever" in str(played.endless)


class Stubborn(AsyncDef):
    """Waits for ever, whatever is raised."""

    async def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        for _ in range(50):
            with suppress(BaseException):
                await asyncio.Event().wait()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_wait_for_ever_that_nothing_ends_is_one_clear_error() -> None:
    """Not an exception from our insides."""
    with pytest.raises(SubjectError, match="Stubborn: the router goes on for ever, and swallows what would end it"):
        play(Stubborn, asks(0))
    gc.collect()  # what was never ended is told of here, and not in the next test


class Counting(Base):
    """Has books of its own."""

    def spend_of(self, router: Any) -> Any:
        """What was spent."""
        return len(router.seen)

    def cost_of(self, router: Any, response: Any) -> Any:
        """What an answer cost."""
        return 0.25

    def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        router.seen.append("")
        return router.call(request.prompt)


class AsyncCounting(Counting):
    """Has books that are awaited."""

    async def spend_of(self, router: Any) -> Any:
        """What was spent."""
        return len(router.seen)

    async def cost_of(self, router: Any, response: Any) -> Any:
        """What an answer cost."""
        return 0.25

    async def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        router.seen.append("")
        return await router.acall(request.prompt)


@pytest.mark.parametrize("kind", [Counting, AsyncCounting])
def test_the_routers_own_books_are_asked(kind: type[RoutingInvariants]) -> None:
    """Before, after each act, and for each answer."""
    played = play(kind, asks(0), asks(0))
    assert [played.spent_before, *(act.spent for act in played.acts)] == [0, 1, 2]
    assert [ask.cost for ask in played.asks] == [Decimal("0.25")] * 2


def test_books_that_raise_are_an_error() -> None:
    """Which names the method."""

    class Failing(Counting):
        def spend_of(self, router: Any) -> Any:
            raise KeyError("spent")

    with pytest.raises(SubjectError, match=r"Failing\.spend_of raised KeyError: 'spent'"):
        play(Failing, asks(0))


class Spoiling(Base):
    """Changes what it is handed, and what the class holds."""

    fallbacks: ClassVar[Any] = {MODEL: ["m"]}

    def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        request.messages.append({"role": "user", "content": "more"})
        request.params["temperature"] = 1
        type(self).fallbacks[MODEL].append("n")
        return router.call(request.prompt)


def test_what_a_router_changes_is_seen() -> None:
    """The scene itself stays as it is."""
    played = play(Spoiling, asks(0))
    assert {*played.only.request_after} == {"messages", "params"}
    assert played.changed == ("fallbacks",)
    assert played.only.ask.request.params == {}
    assert len(played.only.ask.request.messages) == 1


def test_a_call_is_seen_with_its_key_and_what_it_was_told() -> None:
    """The log has neither."""
    script = Script(candidates=((Fails(faults.rate_limit(retry_after_ms=1500)),),))
    (call,) = play(Raising, asks(0, script=script)).only.calls
    assert (call.key, call.asked_to_wait, call.status, call.behaviour) == ("sk-1", 1.5, 429, script.candidates[0][0])


def test_random_numbers_are_those_of_the_scene_and_given_back() -> None:
    """A jitter of the router's is the same in every run."""

    class Jittering(Base):
        def ask(self, router: Any, request: Any) -> Any:
            router.call(request.prompt)
            return str(random.getrandbits(32))

    random.seed(1)
    first = play(Jittering, asks(0)).only.text
    after = random.getrandbits(32)
    random.seed(2)
    assert play(Jittering, asks(0)).only.text == first
    random.seed(1)
    assert random.getrandbits(32) == after
