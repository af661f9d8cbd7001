"""The key for calls that we make ourselves: of the environment where it is needed, a stand-in where it is not."""

from __future__ import annotations

import pytest

from pytest_modelroute.cassettes.keys import key_for_host
from pytest_modelroute.errors import RecordingError

STAND_IN = "sk-not-a-real-key-openai"
REAL = "sk-proj-0123456789abcdef"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real key of OpenAI in the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", REAL)


@pytest.fixture
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """None."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        (None, REAL),
        ("https://gateway.example.com/v1", REAL),
        ("http://127.0.0.1:8000/v1", STAND_IN),
        ("localhost:8000/v1", STAND_IN),
        ("http://[::1]:8000/v1", STAND_IN),
    ],
)
def test_a_real_key_goes_to_providers_and_gateways_and_not_to_this_machine(base_url: str | None, expected: str) -> None:
    """What runs here is a model of one's own, or a mock."""
    assert key_for_host("openai", base_url) == expected


@pytest.mark.usefixtures("no_key")
def test_a_server_of_ones_own_need_not_have_a_key() -> None:
    """It is sent a stand-in."""
    assert key_for_host("openai", "https://models.example.com/v1") == STAND_IN


@pytest.mark.usefixtures("no_key")
@pytest.mark.parametrize("base_url", [None, "https://api.openai.com/v1"])
def test_the_key_of_a_provider_is_named_where_it_is_missing(base_url: str | None) -> None:
    """Before it is called."""
    with pytest.raises(RecordingError, match="OPENAI_API_KEY is not set: recording calls openai with your key"):
        key_for_host("openai", base_url)


@pytest.mark.parametrize("name", ["ollama", "aws", "azure"])
def test_where_no_key_of_ours_would_help_none_is_asked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model on this machine, signed calls, a host for each customer."""
    for variable in ("AWS_ACCESS_KEY_ID", "AZURE_OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    assert "not-a-real-key" in key_for_host(name, None)
