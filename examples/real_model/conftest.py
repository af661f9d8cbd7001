"""Which classifier the questions are tested with: the one in use, or another one by --version-of-router."""

import pytest

from examples.real_model.app import IntentDesk
from examples.real_model.versions import IN_USE, VERSIONS

ASKS_NOBODY = pytest.param(IN_USE, marks=pytest.mark.skip(reason=f"{IN_USE}, the classifier in use, asks no model"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run choose a version."""
    parser.addoption(
        "--version-of-router", default=IN_USE, choices=[*VERSIONS, "all"], help="a classifier of versions.py"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is chosen; a version in the id of a test on the command line counts as chosen."""
    chosen = metafunc.config.getoption("version_of_router")
    named = [version for version in VERSIONS if any(f"[{version}" in each for each in metafunc.config.args)]
    versions = list(VERSIONS) if chosen == "all" else named or [chosen]
    if "version" in metafunc.fixturenames:
        metafunc.parametrize("version", versions)
    if "asking_version" in metafunc.fixturenames:
        asking = [version for version in versions if version != IN_USE]
        metafunc.parametrize("asking_version", asking or [ASKS_NOBODY])


@pytest.fixture
def intents() -> IntentDesk:
    """The application's other half, with connections of this test."""
    return IntentDesk()
