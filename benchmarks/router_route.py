"""
What the router costs: `python benchmarks/router_route.py`.

`router.route` over a scripted provider, beside a bare httpx call through httpx.MockTransport that asks the same and
reads the same answer. CPU time, in rounds that alternate; ratios are of one run. The bare call is shown as well without
its JSON, as bytes in and bytes out, which no application can use.
"""

import json
import statistics
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from decimal import Decimal

import httpx

from pytest_modelroute import ModelSettings, Settings, StepSettings
from pytest_modelroute.providers.prices import PriceBook
from pytest_modelroute.router import BudgetTracker, HeuristicClassifier, ModelClient, ModelRequest, ModelRouter
from pytest_modelroute.wire.exchanges import Wire
from pytest_modelroute.wire.interception import Interception
from pytest_modelroute.wire.network_guard import NetworkGuard
from pytest_modelroute.wire.scripted import MockProviders
from pytest_modelroute.wire.virtual_time import VirtualTime

CALLS, ROUNDS = 300, 15
URL = "https://api.openai.com/v1/chat/completions"
PROMPT = "how much do I owe?"
QUESTION = {"model": "gpt-small", "messages": [{"role": "user", "content": PROMPT}]}
ANSWER = {
    "model": "gpt-small",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 1},
}
HEADERS = {"authorization": "Bearer k"}


def _settings() -> Settings:
    def model(tier: str) -> ModelSettings:
        return ModelSettings(model=f"gpt-{tier}", tier=tier, input_price=Decimal(1), output_price=Decimal(10))

    return Settings(
        models={tier: model(tier) for tier in ("small", "medium", "large")},
        steps={
            "static": StepSettings(model="small"),
            "dynamic": StepSettings(model="dynamic", fallbacks=("medium", "large")),
        },
    )


@contextmanager
def scripted() -> Generator[None]:
    """A provider that answers every call, in virtual time, as in a test."""
    wire = Wire(prices=PriceBook())
    interception, guard = Interception(wire), NetworkGuard()
    wire.clock, wire.guard = VirtualTime(), guard
    wire.scripts = MockProviders(wire.calls, http=interception.http)
    wire.scripts.on(model="gpt-small").replies("hi", latency=0.2)
    interception.start()
    wire.clock.start()
    guard.start()
    try:
        yield
    finally:
        guard.stop()
        wire.clock.stop()
        interception.stop()


def timed(call: Callable[[], object]) -> float:
    """Microseconds of CPU a call."""
    call()
    start = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - start) / CALLS * 1e6


def main() -> None:
    """Measure and print."""
    bare = httpx.Client(transport=httpx.MockTransport(lambda _request: httpx.Response(200, json=ANSWER)))
    body = json.dumps(QUESTION).encode()
    client = ModelClient(_settings(), http=httpx.Client(), keys={"openai": "k"})
    plain = ModelRouter(_settings(), client=client)
    full = ModelRouter(_settings(), client=client, budget=BudgetTracker(1000), classifier=HeuristicClassifier())

    def ask() -> str:
        answer: str = bare.post(URL, json=QUESTION, headers=HEADERS).json()["choices"][0]["message"]["content"]
        return answer

    def routed(router: ModelRouter, step: str) -> Callable[[], float]:
        def measure() -> float:
            with scripted():
                return timed(lambda: router.route(ModelRequest(prompt=PROMPT, step=step)).text)

        return measure

    variants: dict[str, Callable[[], float]] = {
        "httpx through MockTransport": lambda: timed(ask),
        "the same, bytes in and out": lambda: timed(lambda: bare.post(URL, content=body)),
        "router.route": routed(plain, "static"),
        "with heuristic and budget": routed(full, "dynamic"),
    }
    times = {name: list[float]() for name in variants}
    for _ in range(ROUNDS):
        for name, measure in variants.items():
            times[name].append(measure())
    base = times["httpx through MockTransport"]
    print(f"CPU of one call, median of {ROUNDS} alternating rounds of {CALLS} calls")
    for name, measured in times.items():
        ratio = statistics.median(time / one for time, one in zip(measured, base, strict=True))
        print(f"  {name:28} {statistics.median(measured):5.0f} us  {ratio:5.2f} x the first")


if __name__ == "__main__":
    main()
