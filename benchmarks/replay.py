"""
What a replay costs: `python benchmarks/replay.py` (about four minutes; `--quick` leaves out 10,000).

Cassettes of 100, 1,000 and 10,000 chat calls (0.9 kB request, 1.4 kB reply, all different), replayed through one client
by us, by vcrpy, by pytest-recording, and as floors by respx and by httpx.MockTransport with a dict. Each measurement is
a process of its own: CPU time, in rounds that alternate; ratios are of one run.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

URL = "https://api.openai.com/v1/chat/completions"
ROUNDS = 3
CALLS = 300
"Measured calls of ours and of the floors; vcrpy's are fewer, since each takes up to seconds."
WORDS = "the order was late and the parcel is damaged so please tell me what I can do about a refund or a new one "


def request_body(number: int) -> bytes:
    """About 0.9 kB."""
    messages = [{"role": "system", "content": WORDS * 5}, {"role": "user", "content": f"{number}: {WORDS * 2}"}]
    return json.dumps({"model": "gpt-5-nano", "messages": messages, "temperature": 0}).encode()


def reply_body(number: int) -> bytes:
    """About 1.4 kB."""
    message = {"role": "assistant", "content": f"{number}: {WORDS * 10}"}
    usage = {"prompt_tokens": 180, "completion_tokens": 210, "total_tokens": 390}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return json.dumps({"id": f"c{number}", "model": "gpt-5-nano", "choices": choices, "usage": usage}).encode()


def write_cassette(path: Path, count: int) -> None:
    """A cassette as we record it."""
    from pytest_modelroute.cassettes.facts import Facts
    from pytest_modelroute.cassettes.interaction import Interaction, RecordedRequest, RecordedResponse
    from pytest_modelroute.cassettes.saving import save

    headers = (("content-type", "application/json"),)

    def interaction(number: int) -> dict[str, Any]:
        return Interaction(
            request=RecordedRequest(method="POST", url=URL, headers=headers, body=request_body(number)),
            response=RecordedResponse(status=200, reason="OK", headers=headers, body=reply_body(number)),
            facts=Facts(recorded_at="2026-11-24T12:00:00Z", latency_s=0.4, provider="openai", model="gpt-5-nano"),
        ).to_raw()

    raw = [interaction(number) for number in range(count)]
    save(path, lambda _current: raw, folder=path.parent, state=path.parent / ".modelroute", check=lambda _text: None)


@contextmanager
def replaying(path: Path) -> Iterator[None]:
    """Our interception with this cassette, in virtual time, as the fixture sets it up."""
    from pytest_modelroute.cassettes.recording import Plan, TestRecording
    from pytest_modelroute.providers.prices import PriceBook
    from pytest_modelroute.wire.exchanges import Wire
    from pytest_modelroute.wire.interception import Interception
    from pytest_modelroute.wire.virtual_time import VirtualTime

    wire = Wire(prices=PriceBook())
    wire.clock = VirtualTime()
    plan = Plan(
        test="benchmark",
        path=path,
        folder=path.parent,
        state=path.parent / ".modelroute",
        shared=False,
        mode="none",
        command="",
    )
    wire.recordings = TestRecording(plan).tape
    interception = Interception(wire)
    interception.start()
    wire.clock.start()
    try:
        yield
    finally:
        wire.clock.stop()
        interception.stop()


def numbers(count: int, calls: int) -> Iterator[int]:
    """Calls spread over the whole cassette."""
    return (index * count // calls for index in range(calls))


def cpu(work: Callable[[], object]) -> float:
    """Seconds of CPU."""
    start = time.process_time()
    work()
    return time.process_time() - start


def post_all(client: Any, count: int, calls: int) -> float:
    """Milliseconds a call."""

    def work() -> None:
        for number in numbers(count, calls):
            client.post(
                URL, content=request_body(number), headers={"content-type": "application/json"}
            ).raise_for_status()

    return cpu(work) / calls * 1000


async def post_all_async(client: Any, count: int, calls: int, tasks: int) -> None:
    """The same in so many tasks at once."""
    waiting = numbers(count, calls)

    async def worker() -> None:
        for number in waiting:
            reply = await client.post(URL, content=request_body(number), headers={"content-type": "application/json"})
            reply.raise_for_status()

    async with client, asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(worker())


def mock_transport(_path: Path, count: int, calls: int) -> float:
    """The floor: httpx.MockTransport with a dict from the body to the reply."""
    import httpx

    replies = {request_body(number): reply_body(number) for number in range(count)}
    transport = httpx.MockTransport(
        lambda request: httpx.Response(
            200, content=replies[request.content], headers={"content-type": "application/json"}
        )
    )
    with httpx.Client(transport=transport) as client:
        return post_all(client, count, calls)


def mock_transport_async(_path: Path, count: int, calls: int) -> float:
    """The floor of an asynchronous client."""
    import httpx

    replies = {request_body(number): reply_body(number) for number in range(count)}
    headers = {"content-type": "application/json"}
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, content=replies[request.content], headers=headers)
    )
    client = httpx.AsyncClient(transport=transport)
    return cpu(lambda: asyncio.run(post_all_async(client, count, calls, 1))) / calls * 1000


def with_respx(_path: Path, count: int, calls: int) -> float:
    """Bare respx, one route with a function."""
    import httpx
    import respx

    replies = {request_body(number): reply_body(number) for number in range(count)}
    with respx.mock() as router, httpx.Client() as client:
        router.post(URL).mock(side_effect=lambda request: httpx.Response(200, content=replies[request.content]))
        return post_all(client, count, calls)


def ours(path: Path, count: int, calls: int) -> float:
    """Our replay on httpx."""
    import httpx

    with replaying(path), httpx.Client() as client:
        return post_all(client, count, calls)


def ours_httpx2(path: Path, count: int, calls: int) -> float:
    """Our replay on httpx2."""
    import httpx2

    with replaying(path), httpx2.Client() as client:
        return post_all(client, count, calls)


def ours_async(path: Path, count: int, calls: int, tasks: int = 1) -> float:
    """Our replay on an asynchronous client."""
    import httpx

    client = httpx.AsyncClient()
    with replaying(path):
        return cpu(lambda: asyncio.run(post_all_async(client, count, calls, tasks))) / calls * 1000


def ours_16_tasks(path: Path, count: int, calls: int) -> float:
    """The same, 16 calls under way at once."""
    return ours_async(path, count, calls, tasks=16)


def with_vcrpy(path: Path, count: int, calls: int) -> float:
    """Plain vcrpy, matching on the body, as a replay of model calls must."""
    import httpx
    import vcr

    match_on = ["method", "scheme", "host", "port", "path", "query", "body"]
    with vcr.use_cassette(str(path), record_mode="none", match_on=match_on), httpx.Client() as client:
        return post_all(client, count, calls)


def with_pytest_recording(path: Path, count: int, calls: int) -> float:
    """pytest-recording: a test of its own, in a pytest of its own."""
    folder = path.parent / f"recording-{count}"
    folder.mkdir(exist_ok=True)
    test = folder / "test_it.py"
    test.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import httpx, pytest, replay\n"
        f"@pytest.mark.vcr({str(path)!r}, match_on=['method', 'scheme', 'host', 'port', 'path', 'query', 'body'])\n"
        "def test_it():\n"
        "    with httpx.Client() as client:\n"
        f"        print('MEASURED', replay.post_all(client, {count}, {calls}))\n",
        "utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:randomly", "-p", "no:cacheprovider", str(test)],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    return float(done.stdout.partition("MEASURED")[2].split()[0])


def load_cold(path: Path, _count: int, _calls: int) -> float:
    """Milliseconds to open a cassette for the first time: YAML."""
    import shutil

    shutil.rmtree(path.parent / ".modelroute", ignore_errors=True)
    return _load(path)


def load_warm(path: Path, _count: int, _calls: int) -> float:
    """The same from the cache."""
    _load(path)
    return _load(path)


def _load(path: Path) -> float:
    return cpu(lambda: replaying(path).__enter__()) * 1000


def peak_mb() -> float:
    """Of this process alone: ru_maxrss would begin with that of the process that started it."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


VARIANTS: dict[str, Callable[[Path, int, int], float]] = {
    variant.__name__: variant
    for variant in (
        mock_transport,
        mock_transport_async,
        with_respx,
        ours,
        ours_httpx2,
        ours_async,
        ours_16_tasks,
        with_vcrpy,
        with_pytest_recording,
        load_cold,
        load_warm,
    )
}


def measured(name: str, path: Path, count: int, calls: int) -> tuple[float, float]:
    """(result, MB of memory at the peak) of a variant in a process of its own."""
    command = [sys.executable, __file__, name, str(path), str(count), str(calls)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    value, memory = done.stdout.split()
    return float(value), float(memory)


def compare(path: Path, count: int, *, slow_calls: int) -> None:
    """Print the costs of one size."""
    names = [name for name in VARIANTS if not name.startswith("load")]
    often = min(CALLS, count)  # each recording is replayed once
    calls = {name: slow_calls if name in ("with_vcrpy", "with_pytest_recording") else often for name in names}
    names = [name for name in names if calls[name]]
    load_warm(path, count, 0)
    rounds = {name: [measured(name, path, count, calls[name])[0] for _ in range(1)] for name in names}
    for _ in range(ROUNDS - 1):
        for name in names:
            if calls[name] == often:
                rounds[name].append(measured(name, path, count, often)[0])
    floor = statistics.median(rounds["mock_transport"])
    print(f"\n{count} interactions: CPU a call, median of {ROUNDS} alternating rounds of {often} calls")
    for name in names:
        value = statistics.median(rounds[name])
        few = "" if calls[name] == often else f"  ({calls[name]} calls, once)"
        print(f"  {name:22} {value:9.3f} ms  {value / floor:8.2f} x MockTransport{few}")


def whole(path: Path, count: int) -> None:
    """Print what a whole run costs: load and replay of everything."""
    cold = measured("load_cold", path, count, 0)
    warm = measured("load_warm", path, count, 0)
    print(f"\n{count} interactions: open {cold[0]:.0f} ms from YAML, {warm[0]:.0f} ms from the cache", end="")
    print(f" ({cold[0] / warm[0]:.0f} x faster)")
    floor = measured("mock_transport", path, count, count)
    mine = measured("ours", path, count, count)
    total, least = warm[0] + mine[0] * count, floor[0] * count
    print(f"  load + replay of all {total / 1000:.2f} s, {total / least:.2f} x MockTransport ({least / 1000:.2f} s)")
    print(f"  memory at the peak {mine[1]:.0f} MB, MockTransport {floor[1]:.0f} MB")


def main() -> None:
    """Measure and print."""
    sizes = {100: 20, 1_000: 5} if "--quick" in sys.argv else {100: 20, 1_000: 5, 10_000: 0}
    with tempfile.TemporaryDirectory() as folder:
        for count, slow_calls in sizes.items():
            path = Path(folder) / f"calls-{count}.yaml"
            write_cassette(path, count)
            compare(path, count, slow_calls=slow_calls)
            if count == max(sizes):
                whole(path, count)


if __name__ == "__main__":
    if len(sys.argv) == 5:
        name, path, count, calls = sys.argv[1:]
        result = VARIANTS[name](Path(path), int(count), int(calls))
        print(result, peak_mb())
    else:
        main()
