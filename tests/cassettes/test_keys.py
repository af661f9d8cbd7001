"""API keys: from the environment while recording, stand-ins for a replay."""

from __future__ import annotations

import os

import pytest

from pytest_modelroute.cassettes.keys import check_credentials, key_from_environment, stand_ins
from pytest_modelroute.errors import RecordingError
from pytest_modelroute.wire.recorded import Pairs, Sent


def sent(host: str, headers: Pairs = (), query: str = "") -> Sent:
    """A request to a host."""
    return Sent(
        method="POST",
        url=f"https://{host}/v1/chat{query}",
        host=host,
        path="/v1/chat",
        read_body=lambda: b"{}",
        client="httpx",
        read_headers=lambda: headers,
    )


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without keys."""
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_a_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the variable that the provider's own client reads."""
    monkeypatch.setenv("OPENAI_API_KEY", "mine")
    assert key_from_environment("openai") == "mine"
    assert key_from_environment("openai-2") == "mine"


def test_a_missing_key_is_named() -> None:
    """The message names the variable."""
    with pytest.raises(RecordingError, match=r"^OPENAI_API_KEY is not set: recording calls openai with your key$"):
        key_from_environment("openai")


def test_a_provider_of_the_users_own_has_no_known_variable() -> None:
    """The test reads it itself."""
    with pytest.raises(RecordingError, match="the variable of its key is not known; read it in the test"):
        key_from_environment("house")


def test_a_replay_has_stand_ins_where_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set stays, and afterwards all is as it was."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "mine")
    with stand_ins():
        assert "not-a-real-key" in os.environ["OPENAI_API_KEY"]
        assert os.environ["ANTHROPIC_API_KEY"] == "mine"
    assert "OPENAI_API_KEY" not in os.environ


def test_a_key_under_its_other_name_needs_no_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """With both set, Google's client warns."""
    monkeypatch.setenv("GOOGLE_API_KEY", "mine")
    with stand_ins():
        assert "GEMINI_API_KEY" not in os.environ


def test_a_stand_in_that_the_test_has_replaced_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test sets is its own affair."""
    monkeypatch.setenv("OPENAI_API_KEY", "")
    with stand_ins():
        os.environ["OPENAI_API_KEY"] = "set by the test"
    assert os.environ["OPENAI_API_KEY"] == "set by the test"


def test_an_empty_variable_is_empty_again_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set to nothing is not the same as not set."""
    monkeypatch.setenv("OPENAI_API_KEY", "")
    with stand_ins():
        pass
    assert os.environ["OPENAI_API_KEY"] == ""


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ((("Authorization", "Bearer mine"),), ""),
        ((("x-api-key", "mine"),), ""),
        ((("api-key", "mine"),), ""),
        ((("x-goog-api-key", "mine"),), ""),
        ((), "?key=mine"),
    ],
)
def test_a_call_with_a_key_is_made(headers: Pairs, query: str) -> None:
    """Wherever the provider wants it."""
    check_credentials(sent("api.openai.com", headers, query), "openai")


@pytest.mark.parametrize("headers", [(), (("Authorization", "Bearer sk-not-a-real-key-openai"),)])
def test_a_call_of_a_known_provider_without_a_key_is_stopped(headers: Pairs) -> None:
    """Before the provider refuses it; the message names the variable."""
    with pytest.raises(
        RecordingError, match=r"^a call of api\.openai\.com carries no key, .* recorded: set OPENAI_API_KEY$"
    ):
        check_credentials(sent("api.openai.com", headers), "openai")


def test_a_call_of_aws_needs_both_parts_of_its_key() -> None:
    """The message names both."""
    host = "bedrock-runtime.eu-central-1.amazonaws.com"
    with pytest.raises(RecordingError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        check_credentials(sent(host), "aws")


def test_a_server_of_the_users_own_needs_no_key() -> None:
    """A model on this machine has none."""
    check_credentials(sent("127.0.0.1"), "openai")
