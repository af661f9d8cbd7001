"""What a fault is on the wire, in the call log and on the bill; what each client makes of it stands in tests/matrix."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from types import ModuleType
from typing import Any

import httpx
import httpx2
import openai
import pytest

from pytest_modelroute import MockProviders, Reply, VirtualTime, faults
from pytest_modelroute.errors import PriceUnknown, ScriptError, ScriptRaised
from pytest_modelroute.testrun import TestRun

Ask = Callable[..., httpx.Response]
BODY: dict[str, Any] = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}]}
URL = "https://api.openai.com/v1/chat/completions"
both_libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda library: library.__name__)


def read(library: ModuleType, **body: Any) -> list[str]:
    """Post and read the pieces of the body."""
    with (
        library.Client() as client,
        client.stream("POST", URL, json={**BODY, **body}, timeout=5) as response,
    ):
        return list(response.iter_text())


# Retry-After


def test_seconds_stand_in_the_header(ask: Ask, mock_providers: MockProviders) -> None:
    """Whole seconds without a fraction, as providers send them."""
    mock_providers.on().fails(faults.rate_limit(retry_after=2))
    assert ask().headers["retry-after"] == "2"


def test_milliseconds_stand_in_a_header_of_their_own(ask: Ask, mock_providers: MockProviders) -> None:
    """OpenAI sends both, and clients obey the milliseconds."""
    mock_providers.on().fails(faults.rate_limit(retry_after=2, retry_after_ms=1500))
    headers = ask().headers
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("2", "1500")


def test_a_date_is_one_of_the_tests_clock(ask: Ask, mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """A date lies at least as far ahead as the script says, also after hours of virtual time."""
    mock_providers.on().fails(faults.rate_limit(retry_after_date=30), latency=4)
    virtual_time.advance(7200)
    ahead = parsedate_to_datetime(ask().headers["retry-after"]).timestamp() - virtual_time.wall_now()
    assert 30 <= ahead < 31


@pytest.mark.parametrize(
    ("fault", "least", "most"),
    [
        (faults.rate_limit(retry_after=2), 2, 2),
        (faults.rate_limit(retry_after=9, retry_after_ms=1500), 1.5, 1.5),
        (faults.rate_limit(retry_after_date=30), 30, 31),
    ],
    ids=["seconds", "milliseconds", "date"],
)
def test_a_client_waits_as_long_as_it_is_told(
    mock_providers: MockProviders, virtual_time: VirtualTime, fault: faults.Fault, least: float, most: float
) -> None:
    """The real client obeys each form."""
    mock_providers.on().fails(fault, times=1).then.replies("ok")
    with openai.OpenAI(api_key="key") as client:
        client.chat.completions.create(**BODY)
    assert least <= virtual_time.now <= most


# The log and the bill


@pytest.mark.parametrize(
    "make", [faults.stream_cut, faults.stream_stalled, faults.stream_corrupted, faults.stream_error]
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_broken_reply_is_logged_by_its_class(
    mock_providers: MockProviders, make: Callable[[], faults.Fault], *, stream: bool
) -> None:
    """Streaming or not, the log says the same of the same fault."""
    mock_providers.on().fails(make())
    with suppress(httpx.TransportError):
        read(httpx, stream=stream)
    call = mock_providers.calls[0]
    assert (call.error, call.completed, call.reply) == (make().kind, False, None)


@both_libraries
def test_a_stream_that_is_cut_is_billed_as_far_as_it_was_made(
    mock_providers: MockProviders, library: ModuleType
) -> None:
    """Two pieces of four are half of the output, and all of the input."""
    mock_providers.on().fails(faults.stream_cut(after=2, text="a1234567 b1234567 c1234567 d1234567"))
    with pytest.raises(library.RemoteProtocolError):
        read(library, stream=True)
    usage = mock_providers.calls[0].usage
    assert usage is not None
    assert (usage.fresh_input, usage.output) == (1, 5)


@both_libraries
def test_a_whole_reply_that_is_lost_on_its_way_is_billed(mock_providers: MockProviders, library: ModuleType) -> None:
    """The provider made it, whatever the connection did then."""
    mock_providers.on().fails(faults.stream_cut(text="1234 678"))
    with pytest.raises(library.RemoteProtocolError):
        read(library)
    usage = mock_providers.calls[0].usage
    assert usage is not None
    assert usage.output == 2


@both_libraries
def test_a_stream_stalls_for_as_long_as_the_client_reads(
    mock_providers: MockProviders, virtual_time: VirtualTime, library: ModuleType
) -> None:
    """Nothing more comes, and the read timeout of five seconds ends it."""
    mock_providers.on().fails(faults.stream_stalled(after=1))
    with pytest.raises(library.ReadTimeout):
        read(library, stream=True)
    assert virtual_time.now == 5


def test_a_stream_stalls_for_an_async_client_too(mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """The same in an event loop."""
    mock_providers.on().fails(faults.stream_stalled(after=1))

    async def ask() -> None:
        async with openai.AsyncOpenAI(api_key="key", max_retries=0, timeout=5) as client:
            async for _ in await client.chat.completions.create(**BODY, stream=True):
                pass

    with pytest.raises(openai.APITimeoutError):
        asyncio.run(ask())
    assert virtual_time.now == 5


def test_a_corrupted_stream_goes_on_after_its_broken_piece(mock_providers: MockProviders) -> None:
    """One piece is broken, the end marker comes all the same."""
    mock_providers.on().fails(faults.stream_corrupted(after=1, text="one two three"))
    body = "".join(read(httpx, stream=True))
    assert ("one" in body, '" two"' in body, '" three"' in body, "[DONE]" in body) == (True, False, True, True)


def test_an_error_in_the_stream_ends_it(mock_providers: MockProviders) -> None:
    """After the frame with the error nothing comes, under the status 200 that it began with."""
    mock_providers.on().fails(faults.stream_error(after=1, text="one two three", kind="rate_limited"))
    body = "".join(read(httpx, stream=True))
    assert body.rstrip().endswith('"param":null,"code":"rate_limit_exceeded"}}')


def test_a_content_filter_is_billed_and_completes_nothing(ask: Ask, mock_providers: MockProviders) -> None:
    """The filtered reply has status 200 and a cost, and is no answer."""
    mock_providers.on().fails(faults.content_filter())
    assert ask().json()["choices"][0]["finish_reason"] == "content_filter"
    call = mock_providers.calls[0]
    assert (call.status, call.error, call.completed, call.cost_usd > 0) == (200, "content_filtered", False, True)


def test_a_reply_that_says_it_was_filtered_counts_as_filtered(ask: Ask, mock_providers: MockProviders) -> None:
    """A script may hold the filtered text itself."""
    mock_providers.on().replies(Reply(text="I can", finish_reason="content_filter"))
    ask()
    call = mock_providers.calls[0]
    assert (call.error, call.text) == ("content_filtered", "I can")


def test_azure_says_with_an_error_that_it_filters(mock_providers: MockProviders) -> None:
    """A status 400 with a code, where OpenAI itself has a finish reason."""
    mock_providers.on().fails(faults.content_filter())
    client = openai.AzureOpenAI(api_key="k", api_version="2024-10-21", azure_endpoint="https://o.openai.azure.com")
    with client, pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**BODY)
    assert (raised.value.code, mock_providers.calls[0].error) == ("content_filter", "content_filtered")


def test_a_reply_without_usage_has_no_price(ask: Ask, mock_providers: MockProviders) -> None:
    """What is not reported is never taken for free."""
    mock_providers.on().fails(faults.missing_usage("hello"))
    assert "usage" not in ask().json()
    with pytest.raises(PriceUnknown, match="its reply reported no usage"):
        _ = mock_providers.calls[0].cost_usd


def test_a_reply_of_another_model_is_shown_as_such(ask: Ask, mock_providers: MockProviders) -> None:
    """The call was for one model, and another answered."""
    mock_providers.on().fails(faults.another_model("gpt-4.1-nano", "hello"))
    ask()
    call = mock_providers.calls[0]
    assert (call.model, call.model_answered, call.completed) == ("gpt-4.1", "gpt-4.1-nano", True)


def test_a_slow_first_token_is_the_time_to_the_first_chunk(mock_providers: MockProviders) -> None:
    """The rest of the stream follows within its own latency."""
    mock_providers.on().fails(faults.slow_first_token(4, "one two three"), latency=1)
    read(httpx, stream=True)
    call = mock_providers.calls[0]
    assert (call.ttft_s, call.latency_s) == (4, 5)


def test_a_page_of_html_says_what_it_is(ask: Ask, mock_providers: MockProviders) -> None:
    """The content type is that of a page."""
    mock_providers.on().fails(faults.html_page())
    response = ask()
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")


def test_an_empty_body_is_empty(ask: Ask, mock_providers: MockProviders) -> None:
    """Status 200, and nothing."""
    mock_providers.on().fails(faults.empty_body())
    response = ask()
    assert (response.status_code, response.content, mock_providers.calls[0].error) == (200, b"", "malformed")


# What cannot be


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: faults.rate_limit(retry_after=-1),
            "rate_limit(retry_after=-1): a number of seconds, 0 or more, was expected",
        ),
        (
            lambda: faults.rate_limit(retry_after_ms=float("nan")),
            "rate_limit(retry_after_ms=nan): a number of milliseconds, 0 or more, was expected",
        ),
        (
            lambda: faults.rate_limit(retry_after_date=True),
            "rate_limit(retry_after_date=True): a number of seconds, 0 or more, was expected",
        ),
        (
            lambda: faults.rate_limit(retry_after=1, retry_after_date=2),
            "rate_limit(retry_after=..., retry_after_date=...): one header carries both; give one of them",
        ),
        (
            lambda: faults.rate_limit(retry_after_date=1e15),
            "rate_limit(retry_after_date=1000000000000000.0): that is over a hundred years ahead",
        ),
        (
            lambda: faults.malformed_body(3),  # type: ignore[arg-type]
            "malformed_body(3): the bytes of the body were expected",
        ),
        (
            lambda: faults.another_model(""),
            "another_model(''): the name of the model that answers was expected",
        ),
        (
            lambda: faults.slow_first_token(-2),
            "slow_first_token(-2): a number of seconds, 0 or more, was expected",
        ),
        (
            lambda: faults.stream_cut(after=-1),
            "stream_cut(after=-1): a number of pieces, 0 or more, was expected",
        ),
        (
            lambda: faults.stream_cut(after=3, text="one two three"),
            (
                "stream_cut(after=3): its text has 3 pieces (words, 20 at the most); a smaller number was expected, "
                "or a longer text="
            ),
        ),
    ],
)
def test_an_impossible_fault_is_refused_where_it_is_made(make: Callable[[], faults.Fault], message: str) -> None:
    """One line says what was expected."""
    with pytest.raises(ScriptError, match=f"^{re.escape(message)}$"):
        make()


def test_an_unknown_error_class_is_answered_with_the_known_ones() -> None:
    """A router could never decide on it."""
    with pytest.raises(ScriptError, match=r"^stream_error\(kind='busy'\): an error class was expected: rate_limited, "):
        faults.stream_error(kind="busy")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (lambda on: on(model=[]), "on(model=[]): the name of a model, or several, was expected"),
        (lambda on: on(model=3), "on(model=3): the name of a model, or several, was expected"),
        (lambda on: on(step=3), "on(step=3): the name of a step was expected"),
        (lambda on: on().replies("a", model=3), "model=3: the name that the reply gives was expected"),
        (
            lambda on: on().replies(["a", None]),
            "replies([...]): entry 2 is None; a text, a Reply or a fault was expected",
        ),
    ],
)
def test_a_script_of_wrong_types_is_refused_where_it_is_made(
    mock_providers: MockProviders, script: Callable[[Any], object], message: str
) -> None:
    """Before any call."""
    with pytest.raises(ScriptError, match=f"^{re.escape(message)}"):
        script(lambda **conditions: mock_providers.on(**conditions, optional=True))


def test_a_latency_of_no_number_is_the_scripts_mistake(new_run: Callable[[], TestRun]) -> None:
    """A function that forgot to return is told by the script, and by no traceback of ours."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.on().replies("a", latency=lambda _call: None)  # type: ignore[arg-type, return-value]
        with pytest.raises(ScriptRaised, match="latency=None: seconds, 0 or more, were expected"):
            read(httpx)


def test_a_reply_without_a_text_is_refused() -> None:
    """None is no text."""
    with pytest.raises(TypeError, match=r"^Reply.text is a text, not None$"):
        Reply(text=None)  # type: ignore[arg-type]


@both_libraries
def test_a_negative_time_limit_has_run_out_before_the_call(
    mock_providers: MockProviders, virtual_time: VirtualTime, library: ModuleType
) -> None:
    """Time does not go back."""
    mock_providers.on().replies("late", latency=1)
    with library.Client() as client, pytest.raises(library.ReadTimeout):
        client.post(URL, json=BODY, timeout=-5)
    assert virtual_time.now == 0
