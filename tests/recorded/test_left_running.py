"""What an earlier test has left running cannot touch the cassette of a later one, in any loop or thread."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.recorded.live import live

HEAD = """
import asyncio, os, queue, threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import pytest_asyncio
import requests

URL = os.environ["LIVE_URL"] + "/v1/chat/completions"
refused = []

def body(prompt):
    return {"model": "gpt-5-mini", "messages": [{"role": "user", "content": prompt}]}

def said(reply):
    return reply.json()["choices"][0]["message"]["content"]

def ask(prompt):
    return said(requests.post(URL, json=body(prompt), timeout=9))

async def aask(prompt):
    async with httpx.AsyncClient(verify=False) as client:
        return said(await client.post(URL, json=body(prompt)))

def tries(prompt, go, ended):
    go.wait(9)
    try:
        ask(prompt)
    except BaseException as error:
        refused.append(str(error))
    ended.set()

async def atries(prompt, go):
    await go.wait()
    try:
        await aask(prompt)
    except BaseException as error:
        refused.append(str(error))

"""
EARLIER = {
    "recorded": "@pytest.mark.cassette",
    "scripted": "@pytest.mark.usefixtures('mock_providers')",
    "plain": "",
}
"What the earlier test has of ours."
TASK = """
left_{name} = []

{mark}
@pytest.mark.asyncio(loop_scope="session")
async def test_leaves_a_task_{name}():
    go = asyncio.Event()
    left_{name}.append((go, asyncio.create_task(atries("late", go))))

@pytest.mark.cassette
@pytest.mark.asyncio(loop_scope="session")
async def test_after_a_task_{name}():
    go, task = left_{name}.pop()
    go.set()
    await task
    assert await aask("in time") == "re: in time"
    assert "an earlier test has left running" in refused.pop()
"""
THREAD = """
late_{name} = ("late", threading.Event(), threading.Event())

{mark}
def test_leaves_{name}(pool):
    {start}

@pytest.mark.cassette
def test_after_{name}(pool):
    late_{name}[1].set()
    assert late_{name}[2].wait(9)
    assert pool.submit(ask, "in time").result() == "re: in time"
    assert "an earlier test has left running" in refused.pop()
"""
STARTS = {
    "a_thread": "threading.Thread(target=tries, args=late_{name}).start()",
    "a_job": "pool.submit(tries, *late_{name})",
}
OTHERS = """
@pytest.fixture(scope="session")
def pool():
    with ThreadPoolExecutor(8) as pool:
        yield pool

@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def service():
    asked, told = asyncio.Queue(), asyncio.Queue()

    async def serve():
        while True:
            told.put_nowait(await aask(await asked.get()))

    task = asyncio.create_task(serve())
    yield asked, told
    task.cancel()

@pytest.mark.cassette
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("prompt", ["one", "two"])
async def test_a_task_of_the_session_goes_on(service, prompt):
    service[0].put_nowait(prompt)
    assert await service[1].get() == f"re: {prompt}"

@pytest.fixture(scope="session")
def threaded_service():
    asked, told = queue.Queue(), queue.Queue()

    def serve():
        while (prompt := asked.get()) is not None:
            told.put(ask(prompt))

    thread = threading.Thread(target=serve)
    thread.start()
    yield asked, told
    asked.put(None)
    thread.join()

@pytest.mark.cassette
@pytest.mark.parametrize("prompt", ["one", "two"])
def test_a_thread_of_the_session_goes_on(threaded_service, prompt):
    threaded_service[0].put(prompt)
    assert threaded_service[1].get() == f"re: {prompt}"

@pytest.fixture(scope="session")
def one_worker():
    with ThreadPoolExecutor(1) as pool:
        yield pool

@pytest.mark.cassette
@pytest.mark.parametrize("prompt", ["one", "two"])
def test_a_worker_of_the_session_goes_on(one_worker, prompt):
    assert one_worker.submit(ask, prompt).result() == f"re: {prompt}"

@pytest.mark.cassette
@pytest.mark.asyncio
async def test_leaves_a_task_on_its_own_loop():
    asyncio.create_task(atries("late", asyncio.Event()))
    assert await aask("one") == "re: one"

@pytest.mark.cassette
@pytest.mark.asyncio
async def test_after_a_task_on_its_own_loop():
    assert await aask("two") == "re: two"
"""


def source() -> str:
    """The test file."""
    tasks = [TASK.format(name=name, mark=mark) for name, mark in EARLIER.items()]
    threads = [
        THREAD.format(name=f"{kind}_{name}", mark=mark, start=start.format(name=f"{kind}_{name}"))
        for name, mark in EARLIER.items()
        for kind, start in STARTS.items()
    ]
    return "".join((HEAD, OTHERS, *tasks, *threads))


NAMES = re.findall(r"def (test_\w+)", source())


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, list[str]]]:
    """What became of each test as it was recorded, and as it was replayed with the provider stopped."""
    folder = tmp_path_factory.mktemp("left_running")
    (folder / "test_it.py").write_text(source(), "utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = strict\n", "utf-8")
    off = [
        word
        for name in ("randomly", "xdist", "hypothesispytest", "recording", "respx")
        for word in ("-p", f"no:{name}")
    ]
    found: dict[str, Mapping[str, list[str]]] = {}

    def run(mode: str, url: str) -> None:
        command = [sys.executable, "-m", "pytest", "-rA", *off, f"--modelroute-record={mode}"]
        environment = {**os.environ, "LIVE_URL": url, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        lines = re.findall(r"^(PASSED|FAILED|ERROR) test_it.py::(test_\w+)", done.stdout, re.MULTILINE)
        found[mode] = {name: [outcome for outcome, of in lines if of == name] for name in NAMES}
        found[f"{mode} said"] = {"output": [done.stdout + done.stderr]}

    with live() as server:
        run("new", server.url)
        found["asked"] = {"prompts": server.asked}
    run("none", server.url)
    found["cassettes"] = {path.stem: [path.read_text("utf-8")] for path in Path(folder).rglob("cassettes/**/*.yaml")}
    return found


@pytest.mark.parametrize("mode", ["new", "none"])
@pytest.mark.parametrize("name", NAMES)
def test_a_test_is_its_own(outcomes: Mapping[str, Mapping[str, list[str]]], name: str, mode: str) -> None:
    """Recording and replaying: what an earlier test left gets an error, what a session has started goes on."""
    assert set(outcomes[mode][name]) == {"PASSED"}, outcomes[f"{mode} said"]["output"][0]


def test_nothing_of_another_test_is_asked_or_saved(outcomes: Mapping[str, Mapping[str, list[str]]]) -> None:
    """What was left running reaches neither the provider nor a cassette."""
    assert "late" not in outcomes["asked"]["prompts"]
    cassettes = outcomes["cassettes"]
    assert len(cassettes) == 6 + 2 + len(EARLIER) * (1 + len(STARTS))
    assert not [name for name, texts in cassettes.items() if "late" in texts[0].replace("latency", "")]
