"""Every failure has its class, from status and code, and every form in which a provider asks for patience is read."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as law
from hypothesis import strategies as st

from pytest_modelroute import MockProviders, ModelSettings, Settings, faults
from pytest_modelroute.errors import ProviderError
from pytest_modelroute.router import ModelClient, ModelRequest
from pytest_modelroute.router.outcomes import retry_after

if TYPE_CHECKING:
    from collections.abc import Callable

HI = ModelRequest(prompt="Hi")
FAULTS = [
    faults.rate_limit(),
    faults.quota_exhausted(),
    faults.overloaded(),
    faults.unavailable(),
    faults.server_error(),
    faults.request_timeout(),
    faults.model_not_found(),
    faults.context_overflow(),
    faults.authentication(),
    faults.permission(),
    faults.bad_request(),
    faults.content_filter(),
    faults.connect_error(),
    faults.connection_reset(),
    faults.read_timeout(),
    faults.malformed_body(),
    faults.html_page(),
    faults.empty_body(),
    faults.stream_cut(after=0),
    faults.stream_stalled(after=0),
    faults.stream_corrupted(after=0),
    faults.stream_error(after=0),
]


PROVIDERS = {
    "openai": ModelSettings(model="gpt-m"),
    "anthropic": ModelSettings(model="claude-m"),
    "google": ModelSettings(model="gemini-m"),
    "mistral": ModelSettings(model="m", provider="mistral"),
    "ollama": ModelSettings(model="llama-m", provider="ollama"),
    "aws": ModelSettings(model="m", provider="aws", base_url="https://bedrock-runtime.eu-central-1.amazonaws.com"),
}
WITHOUT = {
    ("google", "overloaded"): "unavailable",  # it has one status and one word for both
    ("google", "stream_error"): "unavailable",
    ("aws", "overloaded"): "unavailable",
    ("aws", "stream_error"): "unavailable",
}
NO_FILTER = ("ollama", "content_filter")
CASES = [(name, fault) for name in PROVIDERS for fault in FAULTS if (name, fault.name) != NO_FILTER]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("provider", "fault"), CASES, ids=lambda value: value if isinstance(value, str) else value.name
)
def test_an_error_is_of_the_class_of_its_fault(
    mock_providers: MockProviders,
    new_client: Callable[..., ModelClient],
    provider: str,
    fault: faults.Fault,
    stream: bool,
) -> None:
    """Whatever words the provider has for it, in whichever format, whole and streamed."""
    mock_providers.otherwise(fault)
    client = new_client(Settings(models={"it": PROVIDERS[provider]}), retries=0)
    with pytest.raises(ProviderError) as error:
        "".join(client.stream("it", HI)) if stream else client.send("it", HI)
    assert error.value.kind == WITHOUT.get((provider, fault.name), fault.kind)


def test_a_filtered_answer_is_an_error(mock_providers: MockProviders, client: ModelClient) -> None:
    """A provider that answers 200 to a blocked request has not answered it."""
    mock_providers.otherwise(faults.content_filter())
    with pytest.raises(ProviderError) as error:
        client.send("quick", HI)
    assert (str(error.value), error.value.status, error.value.code) == (
        "gpt-quick answered, but a content filter held the answer back",
        200,
        "content_filter",
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (httpx.ConnectTimeout("slow"), "not_sent"),
        (httpx.PoolTimeout("busy"), "not_sent"),
        (httpx.ReadTimeout("x"), "timeout"),
    ],
)
def test_a_timeout_says_whether_anything_was_sent(
    played: Callable[..., ModelClient], error: httpx.TimeoutException, code: str
) -> None:
    """What was never sent costs nothing."""
    with pytest.raises(ProviderError) as caught:
        played(error, retries=0).send("quick", HI)
    assert (caught.value.kind, caught.value.code) == ("timeout", code)


def test_an_error_counts_its_attempts(mock_providers: MockProviders, client: ModelClient) -> None:
    """The first and two retries."""
    mock_providers.otherwise(faults.overloaded())
    with pytest.raises(ProviderError) as error:
        client.send("quick", HI)
    assert error.value.attempts == 3


# Retry-After

NOW = 1_800_000_000.0


def _asked(*, body: bytes = b"{}", **headers: str) -> float | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return retry_after(httpx.Response(429, content=body, headers=named), NOW)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": "2.5"}, 2.5),
        ({"retry_after": "-1"}, 0.0),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after_ms": "1500"}, 1.5),
        ({"retry_after_ms": "1500", "retry_after": "9"}, 1.5),
        ({"retry_after_ms": "often", "retry_after": "9"}, 9.0),
        ({"retry_after": formatdate(NOW + 7, usegmt=True)}, 7.0),
        ({"retry_after": formatdate(NOW - 7, usegmt=True)}, None),
        ({"retry_after": "Wed, 99 Oct 2026 07:28:00 GMT"}, None),
    ],
)
def test_headers_say_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    """Milliseconds go before, a date counts from the wall clock, and what cannot be read asks for nothing."""
    assert _asked(body=b"{}", **headers) == seconds


@pytest.mark.parametrize(
    ("details", "seconds"),
    [
        ('[{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"}]', 2.0),
        ('[{"@type": "x.RetryInfo"}, {"retryDelay": "1.5s"}]', 1.5),
        ('[{"@type": "x.RetryInfo", "retryDelay": "soon"}]', None),
        ('{"@type": "x.RetryInfo"}', None),
    ],
)
def test_the_body_says_how_long_to_wait(details: str, seconds: float | None) -> None:
    """Gemini has no header for it."""
    assert _asked(body=f'{{"error": {{"details": {details}}}}}'.encode()) == seconds


def test_a_body_that_cannot_be_read_asks_for_nothing() -> None:
    """It only looks like one that does."""
    assert _asked(body=b"RetryInfo") is None


def test_a_header_goes_before_the_body() -> None:
    """It is the newer word of a proxy."""
    body = b'{"error": {"details": [{"@type": "x.RetryInfo", "retryDelay": "2s"}]}}'
    assert _asked(body=body, retry_after="5") == 5.0


@law(deadline=None)
@given(body=st.binary(), header=st.text(st.characters(codec="ascii", exclude_categories=["Cc"])))
def test_no_header_and_no_body_raises_an_error(body: bytes, header: str) -> None:
    """Whatever a proxy makes of it."""
    seconds = _asked(body=b"RetryInfo" + body, retry_after=header)
    assert seconds is None or seconds >= 0


def test_a_date_is_waited_for_on_the_clocks_of_the_client(
    mock_providers: MockProviders, client: ModelClient, naps: list[float]
) -> None:
    """The wall clock is that of the test."""
    mock_providers.on().fails(faults.rate_limit(retry_after_date=20), times=1).then.replies("Hello")
    client.send("quick", HI)
    assert 20 <= naps[0] <= 21
