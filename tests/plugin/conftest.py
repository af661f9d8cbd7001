"""Runs pytest inside pytest, with our plugin and without the other plugins of this environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module

import pytest

from tests.plugin.live import APP, Live, Project, live_provider

Run = Callable[..., pytest.RunResult]

OTHERS = ("respx", "asyncio", "anyio", "randomly", "xdist", "hypothesispytest", "cov", "recording")


@pytest.fixture(autouse=True, scope="session")
def loaded_once() -> None:
    """
    Runs in process forget what they have loaded, and not all of it survives being loaded again.

    The C part of PyYAML does not, and respx knows our interception by its name.
    """
    for name in ("yaml", "pytest_modelroute.wire.interception"):
        import_module(name)


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Run the tests of the folder; `using=` names plugins of this environment to keep."""

    def run_tests(*args: str, using: tuple[str, ...] = (), inprocess: bool = True) -> pytest.RunResult:
        off = [word for name in OTHERS if name not in using for word in ("-p", f"no:{name}")]
        runner = pytester.runpytest_inprocess if inprocess else pytester.runpytest_subprocess
        return runner(*off, *args)

    pytester.makeini("[pytest]\n")
    return run_tests


@pytest.fixture
def live() -> Iterator[Live]:
    """A live provider on 127.0.0.1."""
    with live_provider() as provider:
        yield provider


@pytest.fixture
def project(pytester: pytest.Pytester, live: Live, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose application asks the live provider."""
    monkeypatch.setenv("LIVE_URL", live.url)
    pytester.makepyfile(app=APP)
    pytester.syspathinsert()
    made = Project(pytester, live)
    made.settings("")
    return made


@pytest.fixture
def classify(pytester: pytest.Pytester) -> None:
    """A module `app` with a step that asks one model through the openai client, and four cases of it."""
    pytester.makepyfile(
        app="""
        import openai

        GOLD = {"where is my order": "order", "card was stolen": "fraud", "hello": "greeting", "pay my bill": "bill"}
        CASES = [{"id": text.split()[-1], "inputs": text, "expected_output": label} for text, label in GOLD.items()]

        def classify(query):
            client = openai.OpenAI(api_key="key", max_retries=0)
            messages = [{"role": "user", "content": query}]
            reply = client.chat.completions.create(model="gpt-4.1-nano", messages=messages)
            return reply.choices[0].message.content

        async def aclassify(query):
            client = openai.AsyncOpenAI(api_key="key", max_retries=0)
            messages = [{"role": "user", "content": query}]
            reply = await client.chat.completions.create(model="gpt-4.1-nano", messages=messages)
            return reply.choices[0].message.content
        """
    )
    pytester.syspathinsert()
