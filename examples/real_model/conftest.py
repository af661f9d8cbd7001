"""Which classifier the questions are tested with, and which recording answers: a step has one for each way to do it."""

from collections.abc import Iterable
from typing import Any

import pytest

from examples.real_model.app import IntentDesk
from examples.real_model.versions import IN_USE, VERSIONS

ASKS_NOBODY = pytest.param(IN_USE, marks=pytest.mark.skip(reason=f"{IN_USE}, the classifier in use, asks no model"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run choose a version."""
    parser.addoption("--version-of-router", default=IN_USE, choices=list(VERSIONS), help="a classifier of versions.py")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize by the classifier and by the way in which the model is asked."""
    asking = [version for version in chosen(metafunc) if version != IN_USE]
    for name, values in {
        "version": recorded("answer", chosen(metafunc)),
        "asking_version": recorded("rate_difficulty", asking) or [ASKS_NOBODY],
        "way": recorded("classify_intent", ("by_router", "by_client")),
    }.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values)


def chosen(metafunc: pytest.Metafunc) -> list[str]:
    """All versions where they are recorded; else those in the ids on the command line, or that of the option."""
    if metafunc.definition.get_closest_marker("live") is not None:
        return list(VERSIONS)
    named = [version for version in VERSIONS if any(f"[{version}" in each for each in metafunc.config.args)]
    return named or [metafunc.config.getoption("version_of_router")]


def recorded(step: str, ways: Iterable[str]) -> list[Any]:
    """Ways to do a step, each with its cassette, which the test that records it and those that replay it share."""
    return [pytest.param(way, marks=pytest.mark.cassette(f"{step}-{way}")) for way in ways]


@pytest.fixture
def intents() -> IntentDesk:
    """The application's other half, with connections of this test."""
    return IntentDesk()
