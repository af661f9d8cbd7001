"""A defect at the wire, in every language: what a client reads of an answer that was tampered with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytest_modelroute.errors import MalformedExchange, TamperingError
from pytest_modelroute.faults import content_filter, overloaded, rate_limit, read_timeout, stream_cut
from pytest_modelroute.providers.exchange import Message, ProviderReply, ProviderRequest, ToolCall, Usage
from pytest_modelroute.providers.google_errors import retry_delay
from pytest_modelroute.providers.language import Language, read_stream
from pytest_modelroute.providers.registry import LANGUAGES
from pytest_modelroute.wire.answers import Answer, Pace, answer_with_fault, answer_with_reply
from pytest_modelroute.wire.call_log import ProviderCall
from pytest_modelroute.wire.defects import DEFECTS, defect_named
from pytest_modelroute.wire.faults import Fault
from pytest_modelroute.wire.tampering import Seen, written_anew

USAGE = Usage(fresh_input=30, output=7)
TEXT = "the card was declined at the shop"
SPOKEN = [language for language in LANGUAGES if not language.embeds]
STREAMED = [language for language in SPOKEN if language.streams]


def request_of(*, stream: bool = False) -> ProviderRequest:
    """A question to a large model."""
    return ProviderRequest(model="large", messages=(Message(role="user", text="what happened?"),), stream=stream)


def seen(language: Language, reply: ProviderReply | Fault | None = None, *, stream: bool = False, **more: Any) -> Seen:
    """A call that was answered so; half a second in all."""
    request = request_of(stream=stream)
    if isinstance(reply, Fault):
        answer: Answer = answer_with_fault(language, request, reply, 0.5, language.provider)
    else:
        reply = reply or ProviderReply(text=TEXT, usage=USAGE)
        answer = answer_with_reply(language, request, reply, Pace(latency=0.5, ttft=0.1 if stream else None))
    call = ProviderCall(
        number=1,
        provider=language.provider,
        language=language.name,
        url="https://host/path",
        client="httpx",
        request=request,
        step=None,
        case=None,
        started_s=0.0,
    )
    return Seen(call=call, language=language, answer=answer, **more)


def read(language: Language, answer: Answer) -> ProviderReply:
    """What a client reads."""
    if answer.frames is None:
        return language.read_reply(answer.body)
    return read_stream(language, b"".join(frame for _gap, frame in answer.frames))


def tampered(name: str, given: Seen) -> Answer:
    """The answer with a defect that applies to it."""
    answer = DEFECTS[name].tamper(given)
    assert answer is not None
    return answer


def ids(language: Language) -> str:
    """The name of a language."""
    return language.name


CHANGES = {
    "empty_text": {"text": ""},
    "token_limit": {"text": TEXT[: len(TEXT) // 2], "finish_reason": "length"},
    "double_usage": {"usage": Usage(fresh_input=60, output=14)},
    "flip_label": {"text": "HIGH"},
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("language", STREAMED, ids=ids)
def test_a_defect_of_the_reply_changes_that_and_nothing_else(language: Language, name: str, stream: bool) -> None:
    """Read back in its own language; the log is told the same as the client, at the same time."""
    given = seen(language, stream=stream, other_label="HIGH")
    answer, before = tampered(name, given), read(language, given.answer)
    assert read(language, answer) == replace(before, **CHANGES[name])  # type: ignore[arg-type]
    assert answer.reply is not None
    assert (answer.reply.text, answer.usage) == (read(language, answer).text, read(language, answer).usage)
    assert replace(given, answer=answer).lasts_s == pytest.approx(given.lasts_s)


@pytest.mark.parametrize("language", SPOKEN, ids=ids)
def test_the_reply_of_another_model_names_it_where_the_language_names_models(language: Language) -> None:
    """Bedrock's replies name none, so that nothing can be changed there."""
    answer = DEFECTS["substitute_model"].tamper(seen(language, other_model="small"))
    if answer is None:
        assert read(language, seen(language).answer).model == ""
    else:
        assert read(language, answer).model == "small"


def test_a_substitute_has_a_name_where_no_other_model_is_known() -> None:
    """It is no model that exists."""
    given = seen(SPOKEN[0])
    assert read(given.language, tampered("substitute_model", given)).model == "large-substitute"


@pytest.mark.parametrize("language", SPOKEN, ids=ids)
@pytest.mark.parametrize("name", ["drop_fallback", "drop_retry"])
def test_a_dropped_success_is_an_error_in_the_words_of_the_provider(language: Language, name: str) -> None:
    """It takes as long as the answer would have."""
    answer = tampered(name, seen(language, follows=name.removeprefix("drop_")))
    assert (answer.kind, answer.reply, answer.delay) == ("server_error", None, 0.5)
    assert answer.status >= 500


@pytest.mark.parametrize("fault", [overloaded(), read_timeout()], ids=lambda fault: fault.name)
@pytest.mark.parametrize("language", SPOKEN, ids=ids)
def test_a_swallowed_failure_looks_like_an_answer(language: Language, fault: Fault) -> None:
    """A short text with status 200."""
    answer = tampered("swallow_error", seen(language, fault))
    assert (answer.status, answer.kind, answer.breaks) == (200, None, None)
    assert read(language, answer).text == "OK."


@pytest.mark.parametrize("language", SPOKEN, ids=ids)
def test_a_refusal_without_its_wait_is_the_same_refusal(language: Language) -> None:
    """In the header, or in Gemini's body."""
    given = seen(language, rate_limit(retry_after=7))
    answer = tampered("strip_retry_after", given)
    assert (answer.status, answer.kind) == (given.answer.status, "rate_limited")
    assert "retry-after" not in answer.headers
    assert retry_delay(answer.body) is None
    assert language.read_error(answer.body)[0] == language.read_error(given.answer.body)[0]


@pytest.mark.parametrize("fault", [rate_limit(), overloaded()], ids=lambda fault: fault.name)
@pytest.mark.parametrize("language", SPOKEN, ids=ids)
def test_a_refusal_that_names_no_wait_has_none_to_lose(language: Language, fault: Fault) -> None:
    """So that the defect does not apply."""
    assert DEFECTS["strip_retry_after"].tamper(seen(language, fault)) is None


def test_both_headers_of_openai_are_lost() -> None:
    """Clients read the milliseconds first."""
    given = seen(SPOKEN[0], rate_limit(retry_after_ms=700, retry_after=1))
    assert set(given.answer.headers) - set(tampered("strip_retry_after", given).headers) == {
        "retry-after",
        "retry-after-ms",
    }


def test_a_body_that_only_looks_like_a_wait_is_left_alone() -> None:
    """A proxy's page is no error of the provider."""
    gemini = next(language for language in SPOKEN if language.name.startswith("gemini"))
    given = seen(gemini, overloaded())
    given = replace(given, answer=replace(given.answer, body=b"retryDelay, please"))
    assert DEFECTS["strip_retry_after"].tamper(given) is None


@pytest.mark.parametrize(("in_real_time", "later"), [(False, 60.0), (True, 1.0)])
def test_a_late_answer_is_the_same_answer(in_real_time: bool, later: float) -> None:
    """A minute later, or a second where somebody has to wait for it; also by the time that a recording tells."""
    given = seen(SPOKEN[0], in_real_time=in_real_time)
    given = replace(given, answer=replace(given.answer, lasts=0.5))
    assert tampered("delay", given) == replace(given.answer, delay=0.5 + later, lasts=0.5 + later)


@pytest.mark.parametrize("language", STREAMED, ids=ids)
def test_a_cut_stream_loses_its_connection_half_way(language: Language) -> None:
    """What came before is as it was."""
    given = seen(language, stream=True)
    answer = tampered("cut_stream", given)
    assert given.answer.frames is not None
    assert answer.frames == given.answer.frames[: len(given.answer.frames) // 2]
    assert (answer.breaks, answer.kind) == ("cut", "connection")


@pytest.mark.parametrize("language", STREAMED, ids=ids)
def test_a_stream_that_ends_early_lacks_its_end(language: Language) -> None:
    """The connection is fine; who reads to the end marker sees that there is none."""
    answer = tampered("end_stream_early", seen(language, stream=True))
    assert (answer.breaks, answer.kind) == (None, "cut off")
    with pytest.raises(MalformedExchange):
        read(language, answer)


def test_a_stream_of_one_piece_ends_in_the_middle_of_it() -> None:
    """A label comes in one piece."""
    given = seen(SPOKEN[0], ProviderReply(text="LOW"), stream=True)
    assert given.answer.frames is not None
    ((gap, whole),) = given.answer.frames
    assert tampered("cut_stream", given).frames == ((gap, whole[: len(whole) // 2]),)


@pytest.mark.parametrize(("text", "broken"), [('{"a": 1}\n', '{"a": 1'), ("[1, 2]", "[1, 2")])
def test_broken_json_lacks_its_last_bracket(text: str, broken: str) -> None:
    """An object or a list."""
    given = seen(SPOKEN[0], ProviderReply(text=text))
    assert read(given.language, tampered("break_json", given)).text == broken


@pytest.mark.parametrize("text", ["", "LOW", "{not json}", "7"])
def test_what_is_no_json_cannot_be_broken(text: str) -> None:
    """Plain text, and text that only begins like it."""
    assert DEFECTS["break_json"].tamper(seen(SPOKEN[0], ProviderReply(text=text))) is None


def test_a_dropped_tool_call_is_an_answer_that_calls_none() -> None:
    """Its finish reason says so too."""
    reply = ProviderReply(text="I look it up.", tool_calls=(ToolCall(name="find_order", arguments={"id": 7}),))
    told = read(SPOKEN[0], tampered("drop_tool_call", seen(SPOKEN[0], reply)))
    assert (told.text, told.tool_calls, told.finish_reason) == ("I look it up.", (), "stop")


FAILED = ("delay", "cut_stream", "double_usage", "empty_text", "token_limit", "break_json", "drop_tool_call")


@pytest.mark.parametrize("name", [*FAILED, "flip_label", "substitute_model", "drop_fallback", "drop_retry"])
@pytest.mark.parametrize("fault", [overloaded(), stream_cut()], ids=lambda fault: fault.name)
def test_a_failed_call_has_no_reply_to_tamper_with(name: str, fault: Fault) -> None:
    """What is broken already is left to those who broke it."""
    given = seen(SPOKEN[0], fault, stream=True, follows=None)
    assert DEFECTS[name].tamper(given) is None
    given = replace(given, follows="fallback" if name == "drop_fallback" else "retry")
    assert DEFECTS[name].tamper(given) is None


def test_what_a_filter_holds_back_is_no_failure_that_could_be_swallowed() -> None:
    """Its status is 200, and the application has seen to it already."""
    assert DEFECTS["swallow_error"].tamper(seen(SPOKEN[0], content_filter())) is None


def test_a_reply_without_usage_is_not_given_one() -> None:
    """What was not reported is not made up, and cannot be doubled."""
    given = seen(SPOKEN[0], ProviderReply(text=TEXT, reports_usage=False))
    assert DEFECTS["double_usage"].tamper(given) is None
    assert read(given.language, tampered("empty_text", given)).usage is None


def test_headers_that_do_not_describe_the_body_are_kept() -> None:
    """Request ids and rate limits; not the encoding of a body that is no more."""
    given = seen(SPOKEN[0])
    headers = {**given.answer.headers, "x-request-id": "req-1", "Content-Encoding": "gzip"}
    answer = tampered("empty_text", replace(given, answer=replace(given.answer, headers=headers)))
    assert dict(answer.headers) == {"content-type": "application/json", "x-request-id": "req-1"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("language", STREAMED, ids=ids)
def test_a_scripted_answer_that_is_written_anew_is_the_same(language: Language, stream: bool) -> None:
    """So that a defect is all that differs."""
    given = seen(language, stream=stream)
    anew = written_anew(given)
    assert anew is not None
    assert (anew.body, anew.usage, anew.reply) == (given.answer.body, given.answer.usage, given.answer.reply)
    assert [frame for _gap, frame in anew.frames or ()] == [frame for _gap, frame in given.answer.frames or ()]
    assert written_anew(seen(language, overloaded())) is None


def test_vectors_have_no_text_to_tamper_with() -> None:
    """An embedding can be late, fail and be billed; nothing else."""
    (language,) = (each for each in LANGUAGES if each.embeds)
    given = seen(language, ProviderReply(usage=Usage(fresh_input=4)), other_label="x", follows="fallback")
    apply = {name for name, defect in DEFECTS.items() if defect.redirects is None and defect.tamper(given) is not None}
    assert apply - {"substitute_model"} == {"delay", "double_usage", "drop_fallback"}


def test_an_unknown_defect_is_named_with_its_nearest() -> None:
    """Or with all that are known."""
    with pytest.raises(TamperingError, match=r"^there is no defect 'drop_fallbak'; did you mean 'drop_fallback'\? "):
        defect_named("drop_fallbak")
    with pytest.raises(TamperingError, match=r"^there is no defect 'x'; known are: flip_label, misroute_down, "):
        defect_named("x")


@pytest.mark.parametrize("name", DEFECTS)
def test_every_defect_says_what_survives_what_it_needs_and_what_to_do(name: str) -> None:
    """In words that go on from a sentence of the report."""
    defect = DEFECTS[name]
    assert defect_named(name) is defect
    assert all((said and said[0].islower()) or said[:4] == "JSON" for said in (defect.green_when, defect.absent))
    assert defect.notice.startswith(("assert", "limit"))
