"""The application under test: as it is, or a broken version of it by --version."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from agent import SupportAgent
from broken_versions import VERSIONS

from pytest_modelroute import CallLog


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run choose a broken version."""
    parser.addoption("--version-of-agent", default="good", choices=list(VERSIONS), help="a version of the application")


@pytest.fixture
def agent(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SupportAgent:
    """A fresh agent, with keys that reach nobody."""
    monkeypatch.setenv("OPENAI_API_KEY", "not-needed")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "not-needed")
    return VERSIONS[request.config.getoption("version_of_agent")]()


@pytest.fixture
def labelled(agent: SupportAgent, call_log: CallLog) -> Iterator[SupportAgent]:
    """The agent whose steps label their calls, for tests of the whole workflow."""
    with ExitStack() as labels:
        for step in agent.workflow.steps.values():
            labels.enter_context(call_log.attribute(step.run, step=step.name))
        yield agent
