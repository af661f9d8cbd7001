"""The laws of every language: what it writes, it reads back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelroute.providers.exchange import Message, ProviderReply, ProviderRequest, Tool, ToolCall, Usage
from pytest_modelroute.providers.failures import ErrorClass, Failure
from pytest_modelroute.providers.language import Language, read_stream, read_wire_error
from pytest_modelroute.providers.registry import LANGUAGES
from pytest_modelroute.providers.vectors import embedded

law = settings(deadline=None)
every_language = pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
every_language_that_streams = pytest.mark.parametrize(
    "language", [language for language in LANGUAGES if language.streams], ids=lambda language: language.name
)

TEXTS = st.text() | st.sampled_from(
    [
        "",
        "a\u2028b\u2029c\x85d",
        "\"quoted\" and 'quoted'",
        "one\ntwo\r\nthree\r",
        "data: x\n\nevent: y",
        "\ufeff",
        "🦦",
    ]
)
NAMES = st.text(min_size=1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=3)
PARTS = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, TEXTS),
    st.builds(lambda url: {"type": "image_url", "image_url": {"url": url}}, TEXTS),
)


@st.composite
def _messages(draw: st.DrawFn, role: st.SearchStrategy[str]) -> Message:
    parts = draw(st.none() | st.lists(PARTS, max_size=3))
    if parts is None:
        return Message(role=draw(role), text=draw(TEXTS))
    text = "".join(str(part.get("text", "")) for part in parts)
    return Message(role=draw(role), text=text, parts=tuple(parts))


@st.composite
def _requests(draw: st.DrawFn) -> ProviderRequest:
    # One system message, in front, and a max_tokens: what both formats can say alike.
    system = draw(st.lists(_messages(st.just("system")), max_size=1))
    others = draw(st.lists(_messages(st.sampled_from(["user", "assistant"])), max_size=3))
    params = draw(st.dictionaries(st.sampled_from(["temperature", "top_p", "stop", "metadata"]), JSON))
    return ProviderRequest(
        model=draw(TEXTS),
        messages=(*system, *others),
        stream=draw(st.booleans()),
        tools=tuple(draw(st.lists(st.builds(Tool, name=NAMES, description=TEXTS, parameters=OBJECTS), max_size=2))),
        params={**params, "max_tokens": draw(st.integers(1, 9999))},
    )


TOKENS = st.integers(0, 10**9)
USAGES = st.builds(
    Usage, fresh_input=TOKENS, cache_read=TOKENS, cache_write=TOKENS, output=TOKENS, reasoning=st.just(0) | TOKENS
)
REPLIES = st.builds(
    ProviderReply,
    text=TEXTS,
    model=NAMES,
    usage=USAGES,
    finish_reason=st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
    tool_calls=st.lists(st.builds(ToolCall, name=TEXTS, arguments=OBJECTS, id=NAMES), max_size=3).map(tuple),
)
REQUEST = ProviderRequest(model="asked", messages=(Message(role="user", text="hi"),))


# What a format cannot say, the laws do not ask of it.

USAGE_SAID: dict[str, Callable[[Usage], Usage]] = {
    "gemini": lambda usage: replace(usage, fresh_input=usage.fresh_input + usage.cache_write, cache_write=0),
    "bedrock-converse": lambda usage: replace(usage, output=usage.total_output, reasoning=0),
    "openai-embeddings": lambda usage: Usage(fresh_input=usage.total_input),
    "mistral-chat": lambda usage: Usage(
        fresh_input=usage.fresh_input + usage.cache_write, cache_read=usage.cache_read, output=usage.total_output
    ),
    "ollama-chat": lambda usage: Usage(fresh_input=usage.total_input, output=usage.total_output),
}
STOPS_FOR_TOOLS_ONLY_WITH_CALLS = ("gemini", "openai-responses", "ollama-chat")
MODEL_IN_THE_PATH = ("gemini", "bedrock-converse")
STOPS_AT_A_LIST_OF_WORDS = ("gemini", "bedrock-converse", "ollama-chat")


def _sayable_reply(language: Language, reply: ProviderReply) -> ProviderReply:
    """The reply without what the format has no words for."""
    if language.embeds:
        reply = embedded(REQUEST, reply)
    elif (reply.finish_reason == "content_filter" and not language.filters_content) or (
        reply.finish_reason == "tool_calls" and language.name in STOPS_FOR_TOOLS_ONLY_WITH_CALLS
    ):
        reply = replace(reply, finish_reason="stop")
    if language.name in USAGE_SAID and reply.usage is not None:
        reply = replace(reply, usage=USAGE_SAID[language.name](reply.usage))
    # Bedrock does not name the model that answers.
    return replace(reply, model="") if language.name == "bedrock-converse" else reply


def _sayable_request(language: Language, request: ProviderRequest) -> ProviderRequest:
    """The request without what the format has no words for."""
    request = replace(request, stream=request.stream and language.streams)
    stop = request.params.get("stop")
    if language.name in STOPS_AT_A_LIST_OF_WORDS and isinstance(stop, str):
        request = replace(request, params={**request.params, "stop": [stop]})
    if language.embeds:
        inputs = tuple(Message(role="user", text=message.text) for message in request.messages)
        return replace(request, messages=inputs, tools=())
    if language.name == "ollama-chat":
        return replace(request, messages=tuple(_with_text_for_content(message) for message in request.messages))
    # A path has no room for an empty name.
    return replace(request, model=request.model or "m") if language.name in MODEL_IN_THE_PATH else request


def _with_text_for_content(message: Message) -> Message:
    """Parts only where some are no text."""
    plain = all(part["type"] == "text" for part in message.parts or ())
    return replace(message, parts=None) if plain else message


@every_language
@law
@given(request=_requests())
def test_a_request_written_is_read_back(language: Language, request: ProviderRequest) -> None:
    """Model, system prompt, messages, parts, tools, stream flag and parameters survive the wire."""
    request = _sayable_request(language, request)
    wire = language.write_request(request, "key")
    assert language.read_request(wire.body, wire.path) == request


@every_language
@law
@given(request=_requests(), key=st.text("abc-123", min_size=1))
def test_the_key_stays_out_of_the_body(language: Language, request: ProviderRequest, key: str) -> None:
    """The key travels in a header alone, so that no recorded body can leak it."""
    wire = language.write_request(_sayable_request(language, request), f"secret{key}secret")
    assert (f"secret{key}secret" in "".join(wire.headers.values()), b"secret" + key.encode() in wire.body) == (
        True,
        False,
    )


@every_language
@law
@given(reply=REPLIES)
def test_a_reply_written_is_read_back(language: Language, reply: ProviderReply) -> None:
    """Text, model, usage, finish reason and tool calls survive the wire."""
    reply = _sayable_reply(language, reply)
    assert language.read_reply(language.write_reply(REQUEST, reply)) == reply


@every_language_that_streams
@law
@given(reply=REPLIES, pieces=st.lists(TEXTS, min_size=1, max_size=6))
def test_a_stream_written_is_read_back(language: Language, reply: ProviderReply, pieces: list[str]) -> None:
    """A stream says what the whole reply says, however its text is cut."""
    reply = _sayable_reply(language, replace(reply, text="".join(pieces)))
    body = b"".join(language.write_stream(replace(REQUEST, stream=True), reply, pieces))
    assert read_stream(language, body) == reply


@every_language_that_streams
@law
@given(pieces=st.lists(TEXTS, min_size=1, max_size=6))
def test_a_stream_has_one_entry_for_each_piece(language: Language, pieces: list[str]) -> None:
    """Head and tail of a stream travel with its first and last piece, so that pace is that of the text."""
    reply = ProviderReply(text="".join(pieces))
    assert len(language.write_stream(REQUEST, reply, pieces)) == len(pieces)


@every_language_that_streams
@law
@given(reply=REPLIES, keep=st.floats(0, 1, exclude_max=True))
def test_a_stream_cut_off_before_its_last_piece_is_never_read_as_whole(
    language: Language, reply: ProviderReply, keep: float
) -> None:
    """Wherever the connection breaks before the finish reason, the reader says so."""
    from pytest_modelroute.errors import MalformedExchange

    frames = language.write_stream(replace(REQUEST, stream=True), reply, ["one ", "two ", "three"])
    whole = b"".join(frames[:-1])
    with pytest.raises(MalformedExchange):
        read_stream(language, whole[: int(len(whole) * keep)])


@every_language
@law
@given(reply=REPLIES)
def test_the_same_reply_is_always_the_same_bytes(language: Language, reply: ProviderReply) -> None:
    """Nothing random or timed is in what is written, so that runs can be compared."""
    assert language.write_reply(REQUEST, reply) == language.write_reply(REQUEST, reply)


@every_language
@law
@given(reply=REPLIES)
def test_the_buckets_sum_up_to_what_the_provider_counts(language: Language, reply: ProviderReply) -> None:
    """No token is counted twice or lost between the provider's totals and the buckets."""
    reply = _sayable_reply(language, reply)
    read: Any = language.read_reply(language.write_reply(REQUEST, reply)).usage
    wrote: Any = reply.usage
    assert (read.total_input, read.total_output) == (wrote.total_input, wrote.total_output)


ERRORS = [(language, kind) for language in LANGUAGES for kind in language.vocabulary.spoken]


@pytest.mark.parametrize(("language", "kind"), ERRORS, ids=[f"{language.name}-{kind}" for language, kind in ERRORS])
def test_the_class_of_an_error_survives_the_wire(language: Language, kind: ErrorClass) -> None:
    """What is refused for a reason is understood to be refused for that reason."""
    error = language.write_error(Failure(kind=kind, message="So it is"))
    word, message = read_wire_error(language, error.body, error.headers)
    assert language.vocabulary.classify(error.status, word, message) in {kind, *_heard_as(language, kind)}


def _heard_as(language: Language, kind: ErrorClass) -> set[str]:
    """Some say that they are overloaded as they say that they are down."""
    spoken = language.vocabulary.spoken
    alike = kind == "overloaded" and spoken["overloaded"] == spoken["unavailable"]
    return {"unavailable"} if alike else set()


@every_language_that_streams
@law
@given(reply=REPLIES, sizes=st.lists(st.integers(1, 40), min_size=1))
def test_a_stream_is_read_alike_however_the_network_cuts_it(
    language: Language, reply: ProviderReply, sizes: list[int]
) -> None:
    """A reader may be fed byte by byte, in the middle of a line or of a character."""
    reply = _sayable_reply(language, reply)
    body = b"".join(language.write_stream(replace(REQUEST, stream=True), reply, [reply.text]))
    reader, at, texts = language.stream_reader(), 0, list[str]()
    for size in (*sizes, len(body)):
        texts.append(reader.feed(body[at : at + size]))
        at += size
    assert (reader.reply(), "".join(texts)) == (reply, reply.text)
