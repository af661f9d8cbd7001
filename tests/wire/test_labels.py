"""Which step a call belongs to: labels of blocks and of functions."""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
import types
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_modelroute import CallLog, MockProviders
from pytest_modelroute.errors import EvaluationError
from pytest_modelroute.wire.labels import Label, current_label, labelled

if TYPE_CHECKING:
    import httpx


def step() -> str | None:
    """The step at which the code is."""
    label = current_label()
    return None if label is None else label.step


def plain() -> str | None:
    """A function of the application."""
    return step()


async def coroutine() -> str | None:
    """An async function of the application."""
    await asyncio.sleep(0)
    return step()


def pieces() -> Iterator[str | None]:
    """A generator of the application."""
    yield step()
    yield step()


async def async_pieces() -> AsyncIterator[str | None]:
    """An async generator of the application."""
    yield step()
    await asyncio.sleep(0)
    yield step()


class Agent:
    """A class of the application."""

    def act(self, times: int = 1) -> list[str | None]:
        """A method."""
        return [step()] * times

    async def act_async(self) -> str | None:
        """An async method."""
        return step()

    @classmethod
    def name(cls) -> tuple[str, str | None]:
        """A class method."""
        return cls.__name__, step()

    @staticmethod
    def help() -> str | None:
        """A static method."""
        return step()


class Child(Agent):
    """A class that inherits."""


class Slotted:
    """A class whose instances hold nothing else."""

    __slots__ = ()

    def act(self) -> str | None:
        """A method."""
        return step()


class AsyncCallable:
    """An object that is called like an async function."""

    async def __call__(self) -> str | None:
        """A call."""
        return step()


async_callable = AsyncCallable()
partial = functools.partial(plain)


@pytest.fixture
def log() -> CallLog:
    """A log that nothing is wired to: labels need no calls."""
    return CallLog()


def test_a_block_is_labelled(log: CallLog) -> None:
    """Inside the block its step is known."""
    with log.label(step="plan"):
        assert step() == "plan"


def test_a_label_ends_with_its_block(log: CallLog) -> None:
    """After the block no step is known."""
    with log.label(step="plan"):
        pass
    assert step() is None


def test_a_label_ends_with_an_exception(log: CallLog) -> None:
    """A block that raises is left like any other."""
    with pytest.raises(OSError, match="broken"), log.label(step="plan"):
        raise OSError("broken")
    assert step() is None


def test_the_inner_label_counts(log: CallLog) -> None:
    """Of nested labels the inner one counts, and then the outer one again."""
    with log.label(step="outer"):
        with log.label(step="inner"):
            inside = step()
        assert (inside, step()) == ("inner", "outer")


def test_a_step_keeps_the_case(log: CallLog) -> None:
    """A label for a step leaves the case of an evaluation as it is."""
    calls: list[Any] = []
    with labelled(Label(step="outer", case="c1", calls=calls)), log.label(step="inner"):
        label = current_label()
    assert label is not None
    assert (label.case, label.calls) == ("c1", calls)


def test_a_call_carries_its_label(ask: Callable[..., httpx.Response], mock_providers: MockProviders) -> None:
    """The log knows the step of each call, and none for a call outside of any label."""
    mock_providers.otherwise("ok")
    with mock_providers.calls.label(step="plan"):
        ask()
    ask()
    assert [call.step for call in mock_providers.calls] == ["plan", None]


def test_labels_reach_tasks(log: CallLog) -> None:
    """A task that is started in a block keeps its label after the block has ended."""

    async def start() -> str | None:
        with log.label(step="plan"):
            task = asyncio.create_task(coroutine())
        return await task

    assert asyncio.run(start()) == "plan"


def test_tasks_have_labels_of_their_own(log: CallLog) -> None:
    """Tasks that run side by side do not see each other's labels."""

    async def work(name: str) -> str | None:
        with log.label(step=name):
            await asyncio.sleep(0)
            return step()

    async def both() -> list[str | None]:
        return list(await asyncio.gather(work("a"), work("b")))

    assert asyncio.run(both()) == ["a", "b"]


def test_labels_reach_to_thread(log: CallLog) -> None:
    """asyncio.to_thread takes the label along."""

    async def start() -> str | None:
        with log.label(step="plan"):
            return await asyncio.to_thread(step)

    assert asyncio.run(start()) == "plan"


def test_a_thread_of_ones_own_has_no_label(log: CallLog) -> None:
    """A thread that the code under test starts carries no label."""
    seen: list[str | None] = []
    with log.label(step="plan"):
        thread = threading.Thread(target=lambda: seen.append(step()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_a_function_is_labelled(log: CallLog) -> None:
    """Every call of an attributed function is at its step."""
    with log.attribute(plain, step="plan"):
        assert plain() == "plan"


def test_a_coroutine_is_labelled(log: CallLog) -> None:
    """An attributed async function is at its step while it runs."""
    with log.attribute(coroutine, step="plan"):
        assert asyncio.run(coroutine()) == "plan"


def test_a_coroutine_stays_one(log: CallLog) -> None:
    """An attributed async function is still known as one."""
    with log.attribute(coroutine, step="plan"):
        assert asyncio.iscoroutinefunction(coroutine)


def test_a_generator_is_labelled(log: CallLog) -> None:
    """An attributed generator is at its step while it makes a piece."""
    with log.attribute(pieces, step="plan"):
        assert list(pieces()) == ["plan", "plan"]


def test_between_pieces_the_caller_has_no_label(log: CallLog) -> None:
    """The code that reads a generator is not at the generator's step."""
    with log.attribute(pieces, step="plan"):
        assert [step() for _piece in pieces()] == [None, None]


def test_an_async_generator_is_labelled(log: CallLog) -> None:
    """An attributed async generator is at its step while it makes a piece, and its reader is not."""

    async def read() -> list[tuple[str | None, str | None]]:
        return [(piece, step()) async for piece in async_pieces()]

    with log.attribute(async_pieces, step="plan"):
        assert asyncio.run(read()) == [("plan", None)] * 2


def returning() -> Generator[int, int, str]:
    """A generator that is talked to, and that returns something."""
    got = yield 1
    return f"got {got}"


def test_a_generator_keeps_its_conversation(log: CallLog) -> None:
    """An attributed generator receives what is sent, and gives its return value."""
    with log.attribute(returning, step="plan"):
        talk = returning()
        next(talk)
        with pytest.raises(StopIteration) as ended:
            talk.send(7)
    assert ended.value.value == "got 7"


CLOSED: list[str] = []


async def closing() -> AsyncIterator[int]:
    """An async generator that cleans up."""
    try:
        yield 1
        yield 2
    finally:
        CLOSED.append("closed")


def handling() -> Iterator[str]:
    """A generator that handles what is thrown in."""
    try:
        yield "waiting"
    except OSError as error:
        yield f"handled {error}"


def test_a_generator_handles_what_is_thrown_in(log: CallLog) -> None:
    """An attributed generator gets the errors that its caller throws in."""
    with log.attribute(handling, step="plan"):
        talk = handling()
        next(talk)
        assert talk.throw(OSError("it")) == "handled it"  # type: ignore[attr-defined]


async def async_talking() -> AsyncGenerator[str, str]:
    """An async generator that is talked to."""
    got = "nothing"
    while True:
        try:
            got = yield got
        except OSError as error:
            got = f"handled {error}"


def test_an_async_generator_keeps_its_conversation(log: CallLog) -> None:
    """An attributed async generator receives what is sent and what is thrown in."""

    async def converse() -> list[str]:
        talk: Any = async_talking()
        said = [await anext(talk), await talk.asend("a word"), await talk.athrow(OSError("it"))]
        await talk.aclose()
        return said

    with log.attribute(async_talking, step="plan"):
        assert asyncio.run(converse()) == ["nothing", "a word", "handled it"]


def test_a_generator_is_closed_in_time(log: CallLog) -> None:
    """Closing an attributed generator runs its cleanup at once."""
    with log.attribute(closing_sync, step="plan"):
        stream = closing_sync()
        next(stream)
        CLOSED.clear()
        stream.close()
        assert CLOSED == ["closed"]


def closing_sync() -> Generator[int, None, None]:
    """A generator that cleans up."""
    try:
        yield 1
    finally:
        CLOSED.append("closed")


def test_an_async_generator_is_closed_in_time(log: CallLog) -> None:
    """Closing an attributed async generator runs its cleanup before aclose() returns."""
    CLOSED.clear()

    async def read() -> list[str]:
        stream = closing()
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        return list(CLOSED)

    with log.attribute(closing, step="plan"):
        assert asyncio.run(read()) == ["closed"]


def test_a_method_is_labelled(log: CallLog) -> None:
    """An attributed method is labelled on every instance, with its arguments."""
    with log.attribute(Agent.act, step="plan"):
        assert Agent().act(times=2) == ["plan", "plan"]


def test_an_inherited_method_is_labelled(log: CallLog) -> None:
    """A method that is named by the class that inherits it is labelled."""
    with log.attribute(Child.act, step="plan"):
        assert Child().act() == ["plan"]


def test_an_async_method_is_labelled(log: CallLog) -> None:
    """An attributed async method is labelled."""
    with log.attribute(Agent.act_async, step="plan"):
        assert asyncio.run(Agent().act_async()) == "plan"


def test_a_bound_method_is_labelled_on_its_instance(log: CallLog) -> None:
    """A method of one instance is labelled there, and not on others."""
    one, other = Agent(), Agent()
    with log.attribute(one.act, step="plan"):
        assert (one.act(), other.act()) == (["plan"], [None])


def test_an_instance_is_given_back_as_it_was(log: CallLog) -> None:
    """After the block an instance holds nothing that it did not hold before."""
    agent = Agent()
    with log.attribute(agent.act, step="plan"):
        pass
    assert vars(agent) == {}


def test_an_instance_that_cannot_be_changed_is_refused(log: CallLog) -> None:
    """A method of an instance with slots cannot be labelled, and the error says what to do instead."""
    with pytest.raises(EvaluationError, match="label the block instead"), log.attribute(Slotted().act, step="plan"):
        pass


def test_a_class_method_is_labelled_on_instances(log: CallLog) -> None:
    """An attributed class method is labelled, also where an instance calls it."""
    try:
        with log.attribute(Agent.name, step="plan"):
            assert Agent().name() == ("Agent", "plan")
    finally:
        Agent.name = NAME  # type: ignore[method-assign]


NAME = vars(Agent)["name"]


def test_an_inherited_class_method_is_labelled_on_instances(log: CallLog) -> None:
    """A class method that is named by the class that inherits it is labelled, also where an instance calls it."""
    with log.attribute(Child.name, step="plan"):
        assert Child().name() == ("Child", "plan")


def test_a_class_method_is_given_back(log: CallLog) -> None:
    """After the block a class method is one again, for classes that inherit it too."""
    try:
        with log.attribute(Agent.name, step="plan"):
            pass
        assert Child.name() == ("Child", None)
    finally:
        Agent.name = NAME  # type: ignore[method-assign]


def test_a_static_method_is_labelled(log: CallLog) -> None:
    """An attributed static method is labelled."""
    with log.attribute(Agent.help, step="plan"):
        assert Agent.help() == "plan"


def test_a_partial_is_labelled(log: CallLog) -> None:
    """An object that a module holds and that can be called is labelled."""
    with log.attribute(partial, step="plan"):
        assert partial() == "plan"


def test_an_async_callable_is_labelled(log: CallLog) -> None:
    """An object whose call is async is at its step while it runs."""
    with log.attribute(async_callable, step="plan"):
        assert asyncio.run(async_callable()) == "plan"


def test_a_function_imported_by_name_is_labelled(monkeypatch: pytest.MonkeyPatch, log: CallLog) -> None:
    """A module that imported the function under another name calls the labelled one."""
    other = types.ModuleType("other_module")
    vars(other)["renamed"] = plain
    monkeypatch.setitem(sys.modules, "other_module", other)
    with log.attribute(plain, step="plan"):
        assert vars(other)["renamed"]() == "plan"


def test_a_function_is_given_back(monkeypatch: pytest.MonkeyPatch, log: CallLog) -> None:
    """After the block every module holds the function itself again."""
    other = types.ModuleType("other_module")
    vars(other)["renamed"] = plain
    monkeypatch.setitem(sys.modules, "other_module", other)
    before = plain
    with log.attribute(plain, step="plan"):
        assert plain is not before
    assert (plain, vars(other)["renamed"]) == (before, before)


def test_a_method_is_given_back(log: CallLog) -> None:
    """After the block a class holds its method again, also where the block raised."""
    before = Agent.act
    with pytest.raises(OSError, match="broken"), log.attribute(Agent.act, step="plan"):
        raise OSError("broken")
    assert Agent.act is before


def test_attributions_nest(log: CallLog) -> None:
    """A function inside an attributed one has its own step."""
    with log.attribute(plain, step="inner"), log.label(step="outer"):
        assert (plain(), step()) == ("inner", "outer")


def test_a_function_keeps_its_name(log: CallLog) -> None:
    """An attributed function looks like itself."""
    with log.attribute(plain, step="plan"):
        assert (plain.__name__, plain.__doc__) == ("plain", "A function of the application.")


def test_what_a_function_raises_comes_out(log: CallLog) -> None:
    """An error passes an attributed function, and ends its label."""
    with log.attribute(Agent.act, step="plan"), pytest.raises(TypeError):
        Agent().act(times="x")  # type: ignore[arg-type]
    assert step() is None


def test_a_function_that_nobody_holds_is_refused(log: CallLog) -> None:
    """A local function cannot be labelled, and the error says what to do instead."""

    def local() -> None:
        """Only this test knows it."""

    expected = r"no loaded module.* holds this function.*label the block instead: with call_log\.label\(step="
    with pytest.raises(EvaluationError, match=expected), log.attribute(local, step="plan"):
        pass


def test_attribution_labels_calls(
    ask: Callable[..., httpx.Response], monkeypatch: pytest.MonkeyPatch, mock_providers: MockProviders
) -> None:
    """The calls that an attributed function makes carry its step, and scripts can ask for it."""
    app = types.ModuleType("other_module")
    vars(app)["classify"] = lambda: ask("gpt-4.1")
    monkeypatch.setitem(sys.modules, "other_module", app)
    mock_providers.on(step="classify").replies("ok")
    with mock_providers.calls.attribute(vars(app)["classify"], step="classify"):
        vars(app)["classify"]()
    assert mock_providers.calls.step("classify").models == ["gpt-4.1"]


def test_a_function_named_by_a_text_is_refused(call_log: CallLog) -> None:
    """The function itself is asked for."""
    with pytest.raises(EvaluationError, match=r"takes the function itself, not 'app\.plain'"):
        call_log.attribute("app.plain", step="plan").__enter__()  # type: ignore[arg-type]
