"""
What a scripted call costs: `python benchmarks/scripted_call.py`.

The same POST through one httpx client, answered by bare respx with one route, and by our scripts; then with 10 to
10,000 scripts keyed by model. CPU time, in rounds that alternate; ratios are of one run.
"""

import json
import statistics
import time
from collections.abc import Callable

import httpx
import httpx2
import respx

from pytest_modelroute.providers.prices import PriceBook
from pytest_modelroute.wire.exchanges import Wire
from pytest_modelroute.wire.interception import Interception
from pytest_modelroute.wire.network_guard import NetworkGuard
from pytest_modelroute.wire.scripted import MockProviders
from pytest_modelroute.wire.virtual_time import VirtualTime

CALLS, ROUNDS = 300, 9
URL = "https://api.openai.com/v1/chat/completions"
REPLY = {"model": "m-0", "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}], "usage": {}}


def body(model: str) -> bytes:
    """A small chat request."""
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "how much do I owe?"}]}).encode()


def timed(post: Callable[..., object], model: str) -> float:
    """Microseconds of CPU a call."""
    content = body(model)
    start = time.process_time()
    for _ in range(CALLS):
        post(URL, content=content)
    return (time.process_time() - start) / CALLS * 1e6


def with_respx(client: httpx.Client) -> float:
    """Bare respx, one route."""
    with respx.mock(assert_all_called=False) as router:
        router.post(URL).respond(json=REPLY)
        return timed(client.post, "m-0")


def with_scripts(post: Callable[..., object], scripts: int) -> float:
    """Our scripts, one for each of so many models; asked for is the one in the middle."""
    wire = Wire(prices=PriceBook())
    interception, guard = Interception(wire), NetworkGuard()
    wire.clock, wire.guard = VirtualTime(), guard
    wire.scripts = MockProviders(wire.calls, http=interception.http)
    for number in range(scripts):
        wire.scripts.on(model=f"m-{number}").replies("hi", latency=0.2)
    interception.start()
    wire.clock.start()
    guard.start()
    try:
        return timed(post, f"m-{scripts // 2}")
    finally:
        guard.stop()
        wire.clock.stop()
        interception.stop()


def main() -> None:
    """Measure and print."""
    client, client2 = httpx.Client(), httpx2.Client()
    variants: dict[str, Callable[[], float]] = {
        "respx, one route": lambda: with_respx(client),
        "ours, 1 script": lambda: with_scripts(client.post, 1),
        "ours, 1 script, httpx2": lambda: with_scripts(client2.post, 1),
        "ours, 10 scripts": lambda: with_scripts(client.post, 10),
        "ours, 1,000 scripts": lambda: with_scripts(client.post, 1_000),
        "ours, 10,000 scripts": lambda: with_scripts(client.post, 10_000),
    }
    times = {name: list[float]() for name in variants}
    for _ in range(ROUNDS):
        for name, measure in variants.items():
            times[name].append(measure())
    base = times["respx, one route"]
    print(f"CPU of one call, median of {ROUNDS} alternating rounds of {CALLS} calls")
    for name, measured in times.items():
        ratio = statistics.median(time / bare for time, bare in zip(measured, base, strict=True))
        print(f"  {name:24} {statistics.median(measured):7.0f} us  {ratio:5.2f} x respx")


if __name__ == "__main__":
    main()
