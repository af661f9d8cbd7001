"""A class that cannot be checked: one clear error that says what, where, and what to do."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from pytest_modelroute.errors import PromiseError, SubjectError
from pytest_modelroute.invariants import BudgetPromise, Classifier, RoutingInvariants, watchdog
from pytest_modelroute.invariants.binding import promises_of
from pytest_modelroute.invariants.checking import check_law

SMALL, LARGE = "gpt-5-nano", "gpt-5"


def call(url: str, model: str = SMALL, prompt: str = "hi") -> str:
    """One provider call."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    reply = httpx.post(f"{url}/chat/completions", json=body, timeout=5)
    return str(reply.json()["choices"][0]["message"]["content"])


class Plain(RoutingInvariants):
    """A router that is a function: the subject that the broken ones differ from in one thing."""

    tiers: ClassVar[Any] = (SMALL, LARGE)

    def make_router(self, providers: Any) -> Any:
        """A function of a prompt."""
        url = providers.url("openai")
        return lambda prompt: call(url, prompt=prompt)

    def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        return router(request.prompt)


def said_of(kind: type[RoutingInvariants], law: str = "totality") -> str:
    """The error of a class that cannot be used."""
    with pytest.raises(SubjectError) as error:
        check_law(kind, law, profile="quick")
    return str(error.value)


def wrong_with(**attributes: Any) -> str:
    """What is wrong with the promises of a class."""
    kind = type("TestRouter", (Plain,), attributes)
    with pytest.raises(PromiseError) as error:
        promises_of(kind)
    return str(error.value)


def test_a_plain_function_is_a_router() -> None:
    """A plain function is a router."""
    assert check_law(Plain, "totality", profile="quick").status == "held"


def test_a_factory_that_raises_is_named_with_its_place() -> None:
    """A factory that raises is named with its place."""

    class Raising(Plain):
        def make_router(self, providers: Any) -> Any:
            raise KeyError("SUPPORT_URL")

    said = said_of(Raising)
    assert said.startswith("Raising.make_router raised KeyError: 'SUPPORT_URL'\n  at ")
    assert "test_bad_input.py" in said


def test_a_factory_that_needs_the_network_is_told_so() -> None:
    """A factory that needs the network is told so."""

    class Fetching(Plain):
        def make_router(self, providers: Any) -> Any:
            return httpx.get("https://config.example.com/models")

    said = said_of(Fetching)
    assert said.startswith("Fetching.make_router needs the network, and raised ConnectError:")
    assert "config.example.com" in said


def test_a_factory_that_returns_the_same_instance_is_told_so() -> None:
    """A factory that returns the same instance is told so."""

    class Shared(Plain):
        router: Any = None

        def make_router(self, providers: Any) -> Any:
            if Shared.router is None:
                Shared.router = super().make_router(providers)
            return Shared.router

    assert said_of(Shared).startswith("Shared.make_router returned the same function twice")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watchdog that waits for a moment alone."""
    monkeypatch.setattr(watchdog, "PATIENCE_S", 0.3)


@pytest.mark.usefixtures("impatient")
def test_a_factory_that_blocks_is_shown_where_it_hangs() -> None:
    """A factory that blocks is shown where it hangs."""

    class Blocking(Plain):
        def make_router(self, providers: Any) -> Any:
            threading.Event().wait()

    said = said_of(Blocking)
    assert "Blocking: the router under test did not come back within 0.3 s of real time; it hangs here:" in said
    assert "threading.Event().wait()" in said


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("where", ["here", "in another thread"])
def test_an_import_that_takes_long_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """A library that takes seconds to import hangs nowhere, whoever keeps watch."""
    (tmp_path / "a_large_library.py").write_text("import threading\nthreading.Event().wait(0.7)\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "a_large_library", raising=False)

    done: list[bool] = []

    def work() -> None:
        with watchdog.watched("the router under test"):
            import_module("a_large_library")
            done.append(True)

    if where == "here":
        work()
    else:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert done


@pytest.mark.usefixtures("impatient")
def test_an_ask_that_spins_is_shown_where_it_hangs() -> None:
    """An ask that spins is shown where it hangs."""

    class Spinning(Plain):
        async def ask(self, router: Any, request: Any) -> Any:
            while True:
                pass

    assert "in ask: " in said_of(Spinning)


def test_an_ask_that_waits_for_ever_is_told_what_it_waits_for() -> None:
    """An ask that waits for ever is told what it waits for."""

    class Waiting(Plain):
        async def ask(self, router: Any, request: Any) -> Any:
            await asyncio.Event().wait()

    said = said_of(Waiting)
    assert said.startswith("Waiting.ask never returns, even for a plain request with healthy providers: ")
    assert "the event loop would wait for ever" in said


def test_an_ask_that_calls_without_end_is_ended() -> None:
    """An ask that calls without end is ended."""

    class Calling(Plain):
        def ask(self, router: Any, request: Any) -> Any:
            while True:
                router(request.prompt)

    assert "made more than 200 provider calls, and was ended there" in said_of(Calling)


def test_a_router_that_makes_no_provider_call_is_told_what_is_seen() -> None:
    """A router that makes no provider call is told what is seen."""

    class Silent(Plain):
        def ask(self, router: Any, request: Any) -> Any:
            return "42"

    said = said_of(Silent)
    assert said.startswith("Silent.ask made no provider call, and returned '42'.\n")
    assert "providers.url(name)" in said


def test_a_router_that_calls_a_model_outside_its_tiers_is_told_what_is_declared() -> None:
    """A router that calls a model outside its tiers is told what is declared."""

    class Outside(Plain):
        tiers = (LARGE,)

    said = said_of(Outside)
    assert said.startswith("Outside: a plain request went to 'gpt-5-nano', which is neither in tiers nor in a chain")
    assert "declared are: gpt-5." in said


def test_the_first_law_says_what_is_wrong_and_the_others_point_there() -> None:
    """The first law says what is wrong and the others point there."""

    class Broken(Plain):
        def ask(self, router: Any, request: Any) -> Any:
            raise RuntimeError("no")

    assert said_of(Broken, "totality").startswith("Broken.ask made no provider call, and raised RuntimeError: no.")
    assert said_of(Broken, "determinism") == (
        "not checked: Broken.ask made no provider call, and raised RuntimeError: no. (the first failure of Broken says "
        "more)"
    )


def test_noise_and_what_is_left_running_are_noted_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Noise and what is left running are noted once."""
    left: list[Any] = []

    class Untidy(Plain):
        async def ask(self, router: Any, request: Any) -> Any:
            print("debug", request.prompt)  # noqa: T201 - the noise
            left.append(asyncio.create_task(asyncio.sleep(3600)))
            return router(request.prompt)

    notes = check_law(Untidy, "totality", profile="quick").notes
    assert notes[0].startswith("Untidy: the router writes to stdout (")
    assert notes[1].startswith("Untidy: a plain request leaves 1 running after its answer (task sleep)")
    assert check_law(Untidy, "determinism", profile="quick").notes == ()
    assert capsys.readouterr().out == ""


def test_a_thread_that_is_left_running_is_noted() -> None:
    """A thread that is left running is noted."""
    release = threading.Event()

    class Threaded(Plain):
        def ask(self, router: Any, request: Any) -> Any:
            threading.Thread(target=release.wait, name="flusher", daemon=True).start()
            return router(request.prompt)

    notes = check_law(Threaded, "totality", profile="quick").notes
    release.set()
    assert "(thread 'flusher')" in notes[0]


def test_an_amount_that_is_none_is_an_error() -> None:
    """An amount that is none is an error."""

    class Spending(Plain):
        def spend_of(self, router: Any) -> Any:
            return "a lot"

    assert said_of(Spending) == "Spending.spend_of returned 'a lot'; an amount of USD was expected"


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"tiers": ()}, "tiers is missing"),
        ({"tiers": (SMALL, SMALL)}, "none of them twice"),
        ({"tiers": 3}, "names were expected"),
        ({"safe_tier": "gpt-6"}, "safe_tier = 'gpt-6' is none of the tiers: gpt-5-nano, gpt-5"),
        ({"fallback": {LARGE: (SMALL,)}}, "'fallback' is no promise; did you mean 'fallbacks'?"),
        ({"fallbacks": {LARGE: (LARGE,)}}, "the chain gpt-5 -> gpt-5 names a model twice"),
        ({"fallbacks": {LARGE: (SMALL,)}, "recoverable": {"rate_limit"}}, "'rate_limit' is no error class"),
        (
            {"fallbacks": {LARGE: (SMALL,)}, "recoverable": {"authentication"}},
            "'authentication' is the caller's own fault",
        ),
        ({"recoverable": {"timeout"}}, "there are no fallbacks"),
        ({"retries": -1}, "retries = -1: how often a candidate is asked again"),
        ({"deadline": 0}, "deadline = 0.0: seconds above 0 were expected"),
        ({"hedge_after": 5, "deadline": 3}, "hedge_after = 5 s never comes within the deadline of 3 s"),
        ({"budget": BudgetPromise(0)}, "budget.usd = 0: an amount above 0 was expected"),
        ({"budget": BudgetPromise(1, timezone="Zurich")}, "there is no such time zone"),
        ({"budget": BudgetPromise(1, ladder=(0.2, 0.5))}, "two shares of the budget, falling"),
        ({"budget": "1 USD"}, "BudgetPromise(usd, window=..., timezone=...) was expected"),
        ({"max_overdraft": 1}, "there is no budget"),
        (
            {"classifier": Classifier("m", labels={"LOW": "gpt-6"})},
            "'LOW' leads to 'gpt-6', which is none of the tiers",
        ),
        ({"classifier": "gpt-5"}, "Classifier(model, labels={label: tier}) was expected"),
        ({"equivalences": ("upper",)}, "'upper' is no stock rewrite (whitespace, case, preamble, typos)"),
        ({"known_violations": {"determinsm": "x"}}, "there is no law 'determinsm'; did you mean 'determinism'?"),
        ({"known_violations": {"totality": ""}}, "why it is known was expected, with a link"),
    ],
)
def test_promises_that_cannot_be_are_one_usage_error(attributes: dict[str, Any], problem: str) -> None:
    """Promises that cannot be are one usage error."""
    said = wrong_with(**attributes)
    assert said.startswith("TestRouter: ")
    assert problem in said


def test_a_class_without_factory_and_ask_is_told_what_they_do() -> None:
    """A class without factory and ask is told what they do."""

    class TestNothing(RoutingInvariants):
        tiers = (SMALL,)

    with pytest.raises(PromiseError, match=r"make_router\(self, providers\) is missing: it builds the router"):
        promises_of(TestNothing)


def test_virtual_time_spares_a_router_that_sleeps_for_long() -> None:
    """Virtual time spares a router that sleeps for long."""

    class Sleepy(Plain):
        def ask(self, router: Any, request: Any) -> Any:
            time.sleep(3600)
            return router(request.prompt)

    assert check_law(Sleepy, "totality", profile="quick").status == "held"
