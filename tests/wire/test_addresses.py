"""What a client is told of a provider's stand-in: the shape of its URL, and a key."""

from __future__ import annotations

import re

import pytest

from pytest_modelroute import MockProviders
from pytest_modelroute.errors import ScriptError
from pytest_modelroute.providers.registry import PROVIDERS, provider_behind
from pytest_modelroute.wire.addresses import base_path, fake_key


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("openai", "/v1"),
        ("openai-2", "/v1"),
        ("anthropic", ""),
        ("anthropic_eu", ""),
        ("mistral", ""),
        ("google", ""),
        ("azure", ""),
        ("groq", "/openai/v1"),
        ("openrouter", "/api/v1"),
        ("fireworks", "/inference/v1"),
        ("cheap-host", "/v1"),
    ],
)
def test_a_url_ends_as_the_providers_client_expects(name: str, path: str) -> None:
    """Clients that add the version themselves get none; of a name that says nothing OpenAI's form is assumed."""
    assert base_path(name) == path


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_known_provider_has_a_shape(name: str) -> None:
    """The path is empty, or begins with a slash and ends without one."""
    assert re.fullmatch(r"(/[a-z0-9]+)*", base_path(name))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("openai", "sk-not-a-real-key-openai"),
        ("openai-2", "sk-not-a-real-key-openai-2"),
        ("anthropic", "sk-ant-not-a-real-key-anthropic"),
        ("cheap host/ü", "not-a-real-key-cheap-host-"),
    ],
)
def test_a_key_looks_like_the_providers_and_says_that_it_is_none(name: str, key: str) -> None:
    """It begins as the provider's do, and can be sent in a header whatever the name."""
    assert fake_key(name) == key


@pytest.mark.parametrize("name", [*PROVIDERS, "openai-2", "own"])
def test_no_key_is_in_the_form_of_a_real_one(name: str) -> None:
    """Scanners for leaked keys look for the long random part, which is not there."""
    assert re.search(r"[A-Za-z0-9]{20}", fake_key(name)) is None


def test_the_name_behind_is_the_longest_that_fits() -> None:
    """A host of one's own stands for the provider that its name begins with; others stand for nobody."""
    assert provider_behind("openrouter-2") == "openrouter"
    assert provider_behind("openai") == "openai"
    assert provider_behind("cheap-host") is None
    assert provider_behind(None) is None


def test_the_environment_is_left_as_it_is(mock_providers: MockProviders, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is handed out, and set nowhere."""
    import os

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    before = dict(os.environ)
    mock_providers.url("openai")
    mock_providers.key("openai")
    assert dict(os.environ) == before


def test_a_misspelt_name_is_an_error(mock_providers: MockProviders) -> None:
    """A name that is almost a provider's is a slip, not a host of one's own."""
    with pytest.raises(ScriptError) as error:
        mock_providers.url("opnai")
    assert str(error.value) == (
        "url('opnai'): there is no provider 'opnai'; did you mean 'openai'? A name of your own is fine where it is "
        "less alike, or begins with the provider's: openai-2"
    )


@pytest.mark.parametrize("name", ["", "  ", None, 7])
def test_what_is_no_name_is_an_error(mock_providers: MockProviders, name: object) -> None:
    """A name is text."""
    with pytest.raises(ScriptError, match="the name of a provider was expected, such as 'openai', or one of your own"):
        mock_providers.url(name)  # type: ignore[arg-type]


def test_a_key_of_a_misspelt_name_is_an_error_too(mock_providers: MockProviders) -> None:
    """A key goes to a provider, as a URL does."""
    with pytest.raises(ScriptError, match="did you mean 'anthropic'"):
        mock_providers.key("antropic")


def test_a_script_may_name_a_host_once_it_has_a_url(mock_providers: MockProviders) -> None:
    """`provider=` of a name of one's own needs the name to be known, as any other."""
    with pytest.raises(ScriptError, match=r"no provider 'openai-2'; did you mean 'openai'\? A host of your own is"):
        mock_providers.on(provider="openai-2")
    mock_providers.url("openai-2")
    mock_providers.on(provider="openai-2", optional=True).replies("ok")


def test_scripts_without_a_server_say_so() -> None:
    """Scripts that nobody put behind a server have no URL."""
    from respx import MockRouter

    from pytest_modelroute.wire.call_log import CallLog

    with pytest.raises(ScriptError, match=r"^url\('openai'\): these scripts stand behind no server$"):
        MockProviders(CallLog(), http=MockRouter()).url("openai")
