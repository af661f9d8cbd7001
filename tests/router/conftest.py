"""A router's settings, a client whose clock and sleeps are a list, and providers played by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal
from typing import Any

import httpx
import pytest

from pytest_modelroute import MockProviders, ModelSettings, Settings, StepSettings, VirtualTime
from pytest_modelroute.router import ModelClient
from pytest_modelroute.testrun import TestRun


@pytest.fixture
def settings() -> Settings:
    """Three tiers over both formats, a static step, a dynamic one and a tool step, with prices that are easy to add."""

    def model(name: str, tier: str | None, price: int) -> ModelSettings:
        return ModelSettings(model=name, tier=tier, input_price=Decimal(price), output_price=Decimal(10 * price))

    return Settings(
        models={
            "judge": model("gpt-judge", None, 1),
            "quick": model("gpt-quick", "small", 2),
            "spare": model("gpt-spare", "small", 90),
            "solid": model("gpt-solid", "medium", 4),
            "deep": model("claude-deep", "large", 8),
        },
        steps={
            "chat": StepSettings(model="quick"),
            "solve": StepSettings(model="dynamic", classifier="judge"),
            "unjudged": StepSettings(model="dynamic"),
            "lookup": StepSettings(model="none"),
        },
    )


@pytest.fixture(scope="session")
def chained() -> Settings:
    """A step with two fallbacks, over both formats."""
    names = {"first": "gpt-first", "second": "claude-second", "third": "gpt-third"}
    return Settings(
        models={
            alias: ModelSettings(model=name, input_price=Decimal(1), output_price=Decimal(10))
            for alias, name in names.items()
        },
        steps={"chat": StepSettings(model="first", fallbacks=("second", "third"))},
    )


class Naps(list[float]):
    """Seconds slept, in order; the clock is their sum."""

    def clock(self) -> float:
        """Seconds since the first nap."""
        return sum(self)

    async def anap(self, seconds: float) -> None:
        """Sleep in async code."""
        self.append(seconds)


@pytest.fixture
def naps() -> Naps:
    """What the client of the test slept."""
    return Naps()


@pytest.fixture
def client(settings: Settings, naps: Naps) -> Iterator[ModelClient]:
    """A client with keys and without patience: its sleeps are noted in `naps`."""
    keys = {"openai": "sk-o", "anthropic": "sk-a"}
    with_naps = ModelClient(settings, keys=keys, clock=naps.clock, sleep=naps.append, asleep=naps.anap)
    yield with_naps
    with_naps.close()


@pytest.fixture
def played(settings: Settings, naps: Naps) -> Iterator[Callable[..., ModelClient]]:
    """A client whose provider is a list of responses or errors, the last of which is given for ever."""
    opened: list[httpx.Client] = []

    def make(*outcomes: httpx.Response | Exception, **options: Any) -> ModelClient:
        left = list(outcomes)

        def handler(_request: httpx.Request) -> httpx.Response:
            outcome = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        http = httpx.Client(transport=httpx.MockTransport(handler))
        opened.append(http)
        return ModelClient(
            settings, http=http, keys={"openai": "k", "anthropic": "k"}, clock=naps.clock, sleep=naps.append, **options
        )

    yield make
    for http in opened:
        http.close()


@pytest.fixture(scope="session")
def stage() -> Callable[[], AbstractContextManager[tuple[MockProviders, VirtualTime]]]:
    """Scripted providers and a clock for each example of a law, as the fixtures give them to each test."""

    @contextmanager
    def set_up() -> Generator[tuple[MockProviders, VirtualTime]]:
        run = TestRun(test="law", settings=None, thresholds=[], folders=[], only_case=None, fail=pytest.fail)
        with run.listening(), run.virtual_time() as clock, run.scripted() as providers:
            yield providers, clock
        assert run.wire.failures() == []

    return set_up


@pytest.fixture(scope="session")
def new_client() -> Iterator[Callable[..., ModelClient]]:
    """Make clients that share their connection pools, whose making takes longer than an example of a law."""
    async_http = httpx.AsyncClient()
    with httpx.Client() as http:

        def make(settings: Settings, **options: Any) -> ModelClient:
            keys = dict.fromkeys(("openai", "anthropic", "google", "mistral", "aws"), "k")
            return ModelClient(settings, http=http, async_http=async_http, keys=keys, **options)

        yield make
    asyncio.run(async_http.aclose())
