"""What a script answers with: texts, replies, functions, lists and faults, stage after stage."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelroute import MockProviders, ProviderCall, Reply, ToolCall, Usage, VirtualTime
from pytest_modelroute.errors import ScriptError, ScriptRaised
from pytest_modelroute.faults import Fault, authentication, overloaded, rate_limit, server_error, unavailable
from pytest_modelroute.testrun import TestRun

Ask = Callable[..., httpx.Response]
NewRun = Callable[[], TestRun]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FAULTS = st.sampled_from([rate_limit(), rate_limit(retry_after=2), overloaded(), unavailable(), server_error()])
STATUS = {"rate_limit": 429, "overloaded": 503, "unavailable": 503, "server_error": 500}


def text_of(response: httpx.Response) -> str:
    """The text that a reply in OpenAI's format holds."""
    return str(response.json()["choices"][0]["message"]["content"])


def seen(response: httpx.Response) -> str | int:
    """The text of a good reply, the status of an error."""
    return text_of(response) if response.is_success else response.status_code


def wanted(outcome: str | Fault) -> str | int | None:
    """What a client sees of an outcome."""
    return STATUS[outcome.name] if isinstance(outcome, Fault) else outcome


def test_a_text_answers_every_call(ask: Ask, mock_providers: MockProviders) -> None:
    """A text is the reply to any number of calls."""
    mock_providers.on().replies("yes")
    assert [text_of(ask()) for _ in range(3)] == ["yes"] * 3


def test_a_reply_is_sent_with_its_finish_reason(ask: Ask, mock_providers: MockProviders) -> None:
    """A Reply says why the model stopped."""
    mock_providers.on().replies(Reply(text="cut", finish_reason="length"))
    assert ask().json()["choices"][0]["finish_reason"] == "length"


def test_a_reply_can_call_a_tool(ask: Ask, mock_providers: MockProviders) -> None:
    """A Reply with a tool call sends the name and the arguments as JSON."""
    mock_providers.on().replies(Reply(text="", tool_calls=(ToolCall(name="find", arguments={"id": 7}),)))
    function = ask().json()["choices"][0]["message"]["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("find", {"id": 7})


def test_a_function_answers_by_the_call(ask: Ask, mock_providers: MockProviders) -> None:
    """A function of the call sees the prompt and decides."""
    mock_providers.on().replies(lambda call: f"you said {call.prompt}")
    assert text_of(ask(prompt="ahoy")) == "you said ahoy"


def test_a_function_may_return_a_fault(ask: Ask, mock_providers: MockProviders) -> None:
    """A function of the call can answer with a fault."""
    mock_providers.on().replies(lambda call: overloaded() if call.prompt == "fail" else "fine")
    assert [seen(ask(prompt=prompt)) for prompt in ("fail", "go")] == [503, "fine"]


def test_a_fault_may_stand_where_a_text_does(ask: Ask, mock_providers: MockProviders) -> None:
    """Replies takes a single fault as well."""
    mock_providers.on().replies(unavailable())
    assert ask().status_code == 503


@settings(deadline=None, max_examples=50)
@given(outcomes=st.lists(TEXTS | FAULTS, min_size=1, max_size=8))
def test_entries_of_a_list_are_used_in_order(ask: Ask, new_run: NewRun, outcomes: list[str | Fault]) -> None:
    """Any list of texts and faults is used up entry by entry, in its order."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.on().replies(outcomes)
        assert [seen(ask()) for _ in outcomes] == [wanted(outcome) for outcome in outcomes]


@settings(deadline=None, max_examples=50)
@given(stages=st.lists(st.tuples(FAULTS, st.integers(1, 3)), max_size=4), last=TEXTS)
def test_stages_are_used_one_after_another(
    ask: Ask, new_run: NewRun, stages: list[tuple[Fault, int]], last: str
) -> None:
    """Any row of stages is gone through in the order of its making, each as often as it says."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        script = scripts.on()
        for fault, times in stages:
            script = script.fails(fault, times=times).then
        script.replies(last)
        expected = [STATUS[fault.name] for fault, times in stages for _ in range(times)]
        assert [seen(ask()) for _ in (*expected, last)] == [*expected, last]


@settings(deadline=None, max_examples=50)
@given(outcomes=st.lists(TEXTS | FAULTS, min_size=1, max_size=6), data=st.data())
def test_a_list_is_left_over_until_its_last_entry(
    ask: Ask, new_run: NewRun, outcomes: list[str | Fault], data: st.DataObject
) -> None:
    """A list is reported as unused exactly as long as entries remain."""
    made = data.draw(st.integers(0, len(outcomes)))
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.on().replies(outcomes)
        for _ in range(made):
            ask()
        assert (scripts.leftovers() is None) == (made == len(outcomes))


def test_usage_is_given_by_its_fields(ask: Ask, mock_providers: MockProviders) -> None:
    """Tokens given as a mapping are billed and sent; cached and reasoning tokens in OpenAI's way of counting."""
    mock_providers.on().replies("ok", usage={"fresh_input": 10, "cache_read": 5, "output": 3, "reasoning": 2})
    usage = ask().json()["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (15, 5)


def test_usage_of_a_reply_wins(ask: Ask, mock_providers: MockProviders) -> None:
    """The usage of a Reply goes before the usage of its stage."""
    mock_providers.on().replies(Reply(text="ok", usage=Usage(fresh_input=1)), usage=Usage(fresh_input=9))
    ask()
    assert mock_providers.calls[0].usage == Usage(fresh_input=1)


def test_usage_left_out_is_estimated(ask: Ask, mock_providers: MockProviders) -> None:
    """Without a usage, a token stands for four characters of the texts."""
    mock_providers.on().replies("x" * 8)
    ask(prompt="y" * 12)
    assert mock_providers.calls[0].usage == Usage(fresh_input=3, output=2)


def test_a_reply_names_the_model_that_was_asked(ask: Ask, mock_providers: MockProviders) -> None:
    """A provider answers as the model it was asked for."""
    mock_providers.on().replies("ok")
    assert ask("gpt-4.1-nano").json()["model"] == "gpt-4.1-nano"


def test_a_reply_can_name_another_model(ask: Ask, mock_providers: MockProviders) -> None:
    """A script can let the provider answer as another model than the one asked for."""
    mock_providers.on().replies("ok", model="gpt-4.1-2026-04-14")
    ask("gpt-4.1")
    assert mock_providers.calls[0].model_answered == "gpt-4.1-2026-04-14"


def test_a_latency_may_depend_on_the_call(ask: Ask, mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """A latency that is a function is asked for each call."""
    mock_providers.on().replies("ok", latency=lambda call: len(call.prompt) * 0.5)
    ask(prompt="abc")
    assert virtual_time.now == 1.5


def test_a_fault_has_a_latency(ask: Ask, mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """A fault shows after its latency."""
    mock_providers.on().fails(server_error(), latency=0.25)
    ask()
    assert virtual_time.now == 0.25


def test_a_call_says_which_script_answered(ask: Ask, mock_providers: MockProviders) -> None:
    """The log names the script by its number."""
    mock_providers.on(model="a").replies("1")
    mock_providers.on(model="b").replies("2")
    ask("b")
    ask("a")
    assert [call.answered_by for call in mock_providers.calls] == ["script 2", "script 1"]


def test_a_script_prints_as_it_was_typed(mock_providers: MockProviders) -> None:
    """Messages show a script by its conditions, its stages and its place."""
    script = mock_providers.on(model=["a", "b"], provider="openai", when=bool, optional=True)
    script.fails(rate_limit(), times=2).then.replies(["x", "y"]).then.replies("z" * 60)
    assert str(script).startswith(
        "on(model=('a', 'b'), provider='openai', when=bool).fails(rate_limit(), times=2).replies([2 entries])"
        f".replies('{'z' * 36}...)  ("
    )


def test_a_script_knows_where_it_was_made(mock_providers: MockProviders) -> None:
    """Messages point to the file and line of the test that made the script."""
    script = mock_providers.on(optional=True)
    assert "test_scripts.py:" in script.where


def test_a_function_is_shown_by_its_name(mock_providers: MockProviders) -> None:
    """Messages show a function by its name, and a callable object by its class."""

    class Echo:
        def __call__(self, call: ProviderCall) -> str:
            return call.prompt

    def answer(call: ProviderCall) -> str:
        return call.prompt

    shown = [str(mock_providers.on(model=name, optional=True).replies(f)) for name, f in (("a", answer), ("b", Echo()))]
    assert [text.partition(").")[2].partition("  ")[0] for text in shown] == ["replies(answer)", "replies(Echo)"]


def test_a_function_that_raises_is_named(ask: Ask, new_run: NewRun) -> None:
    """A function that raises ends the call with an error that names the script, the call and the reason."""

    def broken(_call: ProviderCall) -> str:
        raise KeyError("colour")

    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.on().replies(broken)
        with pytest.raises(ScriptRaised, match=r"on\(\)\.replies\(broken\).* raised on call 1 \(KeyError: 'colour'\)"):
            ask()


def test_a_function_that_raises_is_the_cause(ask: Ask, new_run: NewRun) -> None:
    """What a function raised is kept as the cause, with its traceback."""

    def broken(_call: ProviderCall) -> str:
        raise KeyError("colour")

    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.on().replies(broken)
        with pytest.raises(ScriptRaised) as caught:
            ask()
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("nonsense", [7, None, ["a"], {"text": "a"}, b"bytes"])
def test_a_function_that_returns_nonsense_is_refused(ask: Ask, new_run: NewRun, nonsense: Any) -> None:
    """A function must return a text, a Reply or a fault."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.on().replies(lambda _call: nonsense)
        with pytest.raises(ScriptRaised, match="a text, a Reply or a fault was expected"):
            ask()


@pytest.mark.parametrize("latency", [-1.0, math.nan, math.inf, "1", True])
def test_a_function_of_an_impossible_latency_is_refused(ask: Ask, new_run: NewRun, latency: Any) -> None:
    """A latency that a function returns is checked like one that is given."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.on().replies("ok", latency=lambda _call: latency)
        with pytest.raises(ScriptRaised, match="seconds, 0 or more, were expected"):
            ask()


def test_a_stream_never_turns_time_back(ask: Ask, new_run: NewRun) -> None:
    """A first chunk later than the whole reply is refused also where a function gives the latency."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.on().replies("one two three", latency=lambda _call: 0.1, ttft=0.5)
        with pytest.raises(ScriptRaised, match="ttft"):
            ask(stream=True)


@pytest.mark.parametrize("seconds", [-0.001, -1, math.nan, math.inf, "1", True, [1]])
def test_an_impossible_latency_is_refused(mock_providers: MockProviders, seconds: Any) -> None:
    """A latency is a finite number of seconds, 0 or more."""
    with pytest.raises(ScriptError, match=r"^latency=.*: seconds, 0 or more, were expected"):
        mock_providers.on(optional=True).replies("ok", latency=seconds)


@pytest.mark.parametrize("seconds", [-0.001, math.nan, math.inf, "1", True])
def test_an_impossible_latency_of_a_fault_is_refused(mock_providers: MockProviders, seconds: Any) -> None:
    """The latency of a fault is checked as well."""
    with pytest.raises(ScriptError, match=r"^latency=.*: seconds, 0 or more, were expected"):
        mock_providers.on(optional=True).fails(rate_limit(), latency=seconds)


@pytest.mark.parametrize("seconds", [-0.001, math.nan, math.inf, "1", True])
def test_an_impossible_time_to_the_first_chunk_is_refused(mock_providers: MockProviders, seconds: Any) -> None:
    """The time to the first chunk is a finite number of seconds, 0 or more."""
    with pytest.raises(ScriptError, match=r"^ttft=.*: seconds, 0 or more, were expected"):
        mock_providers.on(optional=True).replies("ok", latency=1, ttft=seconds)


def test_a_first_chunk_after_the_end_is_refused(mock_providers: MockProviders) -> None:
    """The first chunk cannot come after the reply is complete."""
    with pytest.raises(ScriptError, match=r"ttft=2 is longer than latency=1, the time until the reply is complete"):
        mock_providers.on(optional=True).replies("ok", latency=1, ttft=2)


@pytest.mark.parametrize("chunks", [0, -3, [], ()])
def test_an_impossible_number_of_chunks_is_refused(mock_providers: MockProviders, chunks: Any) -> None:
    """A stream has one piece or more."""
    with pytest.raises(ScriptError, match=r"^chunks=.*: a number of pieces, 1 or more, or the pieces were expected"):
        mock_providers.on(optional=True).replies("ok", chunks=chunks)


@pytest.mark.parametrize("chunks", [1.5, "ok", [1, 2]])
def test_chunks_of_another_type_are_refused(mock_providers: MockProviders, chunks: Any) -> None:
    """Chunks are a number or a list of texts."""
    with pytest.raises(ScriptError, match=r"chunks="):
        mock_providers.on(optional=True).replies("ok", chunks=chunks)


@pytest.mark.parametrize("times", [0, -1, True])
def test_an_impossible_number_of_times_is_refused(mock_providers: MockProviders, times: Any) -> None:
    """A fault happens once or more."""
    with pytest.raises(ScriptError, match=r"times=.*: a number of calls, 1 or more, was expected"):
        mock_providers.on(optional=True).fails(rate_limit(), times=times)


@pytest.mark.parametrize("times", [1.5, "3"])
def test_a_number_of_times_of_another_type_is_refused(mock_providers: MockProviders, times: Any) -> None:
    """A number of times is a whole number."""
    with pytest.raises(ScriptError, match="a number of calls, 1 or more, was expected"):
        mock_providers.on(optional=True).fails(rate_limit(), times=times)


@pytest.mark.parametrize("source", [[], (), 7, None, {"text": "a"}])
def test_an_impossible_source_is_refused(mock_providers: MockProviders, source: Any) -> None:
    """Replies takes a text, a Reply, a function or a list with entries."""
    with pytest.raises(ScriptError, match=r"a text, a Reply, a function of the call or a list with an entry for each"):
        mock_providers.on(optional=True).replies(source)


def test_bytes_are_refused(mock_providers: MockProviders) -> None:
    """Bytes are no text, and no list of replies."""
    with pytest.raises(ScriptError, match="a text, a Reply"):
        mock_providers.on(optional=True).replies(b"abc")  # type: ignore[arg-type]


def test_a_usage_with_an_unknown_field_is_refused(mock_providers: MockProviders) -> None:
    """The message lists the fields that a usage has."""
    with pytest.raises(ScriptError, match=r"input_tokens.*fields are fresh_input, cache_read, cache_write, output"):
        mock_providers.on(optional=True).replies("ok", usage={"input_tokens": 3})


@pytest.mark.parametrize("usage", [{"output": -1}, {"output": 1.5}, {"output": "3"}, 12])
def test_an_impossible_usage_is_refused(mock_providers: MockProviders, usage: Any) -> None:
    """Tokens are whole numbers, 0 or more."""
    with pytest.raises(ScriptError, match=r"^usage=.* cannot be read"):
        mock_providers.on(optional=True).replies("ok", usage=usage)


@pytest.mark.parametrize("fault", [rate_limit, overloaded, 429, "rate_limit", None])
def test_a_fault_without_its_parentheses_is_refused(mock_providers: MockProviders, fault: Any) -> None:
    """A fault is a value: the function that makes one has to be called."""
    with pytest.raises(ScriptError, match=r"takes a fault such as .*rate_limit\(\), with its parentheses"):
        mock_providers.on(optional=True).fails(fault)


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf])
def test_an_impossible_retry_after_is_refused(seconds: float) -> None:
    """A Retry-After is a finite number of seconds, 0 or more."""
    with pytest.raises(ScriptError, match=r"^overloaded\(retry_after=.*: a number of seconds, 0 or more, was expected"):
        overloaded(retry_after=seconds)


def test_a_retry_after_of_another_type_is_refused() -> None:
    """A Retry-After is a number."""
    with pytest.raises(ScriptError, match="a number of seconds"):
        rate_limit(retry_after="2")  # type: ignore[arg-type]


def test_a_stage_after_an_endless_one_is_refused(mock_providers: MockProviders) -> None:
    """A stage that can never be reached is refused with a way out."""
    script = mock_providers.on(optional=True).replies("for ever")
    with pytest.raises(ScriptError, match=r"fails\(authentication\(\)\) can never be reached: replies\('for ever'\)"):
        script.fails(authentication())


@pytest.mark.parametrize("seconds", [2, 0, 0.5, 1000.125, 1_000_000])
def test_a_retry_after_is_sent(ask: Ask, mock_providers: MockProviders, seconds: float) -> None:
    """Retry-After carries the seconds as they were given."""
    mock_providers.on().fails(rate_limit(retry_after=seconds))
    assert ask().headers["retry-after"] == str(seconds)


def test_no_retry_after_is_sent_where_none_is_given(ask: Ask, mock_providers: MockProviders) -> None:
    """Without a number the header is left out."""
    mock_providers.on().fails(rate_limit())
    assert "retry-after" not in ask().headers
