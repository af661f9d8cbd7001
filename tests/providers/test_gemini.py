"""Google Gemini, on bodies as its documentation shows them and as its client sends them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_modelroute.errors import MalformedExchange, StreamFailed
from pytest_modelroute.providers.exchange import Message, ProviderReply, ProviderRequest, Tool, ToolCall, Usage
from pytest_modelroute.providers.failures import ErrorClass, Failure
from pytest_modelroute.providers.gemini import Gemini
from pytest_modelroute.providers.google_errors import retry_delay
from pytest_modelroute.providers.language import read_stream
from pytest_modelroute.providers.sse import read_events

PATH = "/v1beta/models/gemini-2.5-flash:generateContent"
STREAM_PATH = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
GEMINI = Gemini()
REQUEST = ProviderRequest(model="asked", messages=(Message(role="user", text="abcdefgh"),))
USAGE = {
    "promptTokenCount": 10,
    "cachedContentTokenCount": 4,
    "candidatesTokenCount": 2,
    "thoughtsTokenCount": 3,
    "totalTokenCount": 15,
}
RPC = "type.googleapis.com/google.rpc."


def _bytes(value: object) -> bytes:
    return json.dumps(value).encode()


def _request(**members: Any) -> ProviderRequest:
    return GEMINI.read_request(_bytes({"contents": [{"role": "user", "parts": [{"text": "hi"}]}], **members}), PATH)


def _reply(*parts: Any, reason: str | None = "STOP", **members: Any) -> bytes:
    candidate = {"content": {"parts": parts or [{"text": "hi"}], "role": "model"}, "finishReason": reason}
    return _bytes({"candidates": [candidate], **members})


def _chunk(*parts: Any, reason: str | None = None, **members: Any) -> bytes:
    return b"data: " + _reply(*parts, reason=reason, **members) + b"\n\n"


def _error(**members: Any) -> bytes:
    return _bytes({"error": {"code": 429, "message": "So it is", "status": "RESOURCE_EXHAUSTED", **members}})


def _written(request: ProviderRequest) -> Any:
    return json.loads(GEMINI.write_request(request, "k").body)


# Requests


@pytest.mark.parametrize(
    ("path", "model", "stream"),
    [
        ("/v1/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash", False),
        ("/v1beta/models/gemini-2.5-flash:streamGenerateContent", "gemini-2.5-flash", True),
        ("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", "gemini-2.5-flash", True),
        ("/v1beta1/publishers/google/models/gemini-2.5-pro:generateContent", "gemini-2.5-pro", False),
        (
            "/v1/projects/p/locations/europe-west4/publishers/google/models/gemini-2.5-pro:streamGenerateContent",
            "gemini-2.5-pro",
            True,
        ),
        ("/v1beta/tunedModels/mine:generateContent", "tunedModels/mine", False),
        ("/v1/projects/p/locations/l/endpoints/123:generateContent", "endpoints/123", False),
        ("/v1/models/mine%20and%3Ayours:generateContent", "mine and:yours", False),
    ],
)
def test_the_path_names_the_model_and_says_whether_it_streams(path: str, model: str, *, stream: bool) -> None:
    """Each version of the API, Vertex AI and tuned models have a path of their own."""
    request = GEMINI.read_request(b'{"contents": []}', path)
    assert (GEMINI.recognises(path), request.model, request.stream) == (True, model, stream)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/gemini-2.5-flash:countTokens",
        "/v1beta/models/gemini-embedding-001:batchEmbedContents",
        "/v1beta/models/:generateContent",
        "/v1beta/models",
        "/v1beta1/projects/p/locations/l/publishers/anthropic/models/claude:rawPredict",
    ],
)
def test_other_calls_of_the_api_are_not_recognised(path: str) -> None:
    """Counting tokens, embeddings and lists of models generate nothing; other makers' models speak another format."""
    assert not GEMINI.recognises(path)


def test_a_request_as_the_client_sends_it_is_read() -> None:
    """The client's mixture of both spellings, of functions and Google's own tools, and of parameters."""
    request = _request(
        systemInstruction={"parts": [{"text": "be brief"}], "role": "user"},
        safetySettings=[{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}],
        tools=[
            {"googleSearch": {}},
            {
                "functionDeclarations": [
                    {"name": "weather", "description": "The weather", "parameters": {"type": "OBJECT"}},
                    {"name": "clock", "parameters_json_schema": {"type": "object"}},
                ]
            },
        ],
        generationConfig={
            "temperature": 0.1,
            "topP": 0.5,
            "maxOutputTokens": 5,
            "stopSequences": ["x"],
            "thinkingConfig": {"thinking_budget": 0},
        },
    )
    assert request == ProviderRequest(
        model="gemini-2.5-flash",
        messages=(Message(role="system", text="be brief"), Message(role="user", text="hi")),
        tools=(
            Tool(name="weather", description="The weather", parameters={"type": "OBJECT"}),
            Tool(name="clock", parameters={"type": "object"}),
        ),
        params={
            "max_tokens": 5,
            "temperature": 0.1,
            "top_p": 0.5,
            "stop": ["x"],
            "generationConfig": {"thinkingConfig": {"thinking_budget": 0}},
            "tools": [{"googleSearch": {}}],
            "safetySettings": [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}],
        },
    )


def test_a_request_in_snake_case_is_read() -> None:
    """The API takes both spellings, and a single object for a list."""
    body = {
        "contents": {"parts": {"text": "hi"}},
        "system_instruction": {"parts": {"text": "be brief"}},
        "generation_config": {"max_output_tokens": 5, "top_p": 0.5, "stop_sequences": ["x"]},
        "tools": {"function_declarations": [{"name": "clock", "parameters": {"type": "object"}}]},
    }
    assert GEMINI.read_request(_bytes(body), PATH) == ProviderRequest(
        model="gemini-2.5-flash",
        messages=(Message(role="system", text="be brief"), Message(role="user", text="hi")),
        tools=(Tool(name="clock", parameters={"type": "object"}),),
        params={"max_tokens": 5, "top_p": 0.5, "stop": ["x"]},
    )


def test_the_body_is_kept_as_it_came() -> None:
    """What is read for the log does not change what was sent."""
    body = {"contents": [], "system_instruction": {"parts": [{"text": "a"}]}}
    assert GEMINI.read_request(_bytes(body), PATH).body == body


def test_a_conversation_with_calls_and_images_is_read() -> None:
    """The role model is the assistant's; parts beyond a single text are kept as sent; thoughts are no text."""
    call = {"functionCall": {"name": "weather", "args": {"city": "Bern"}}}
    thought = {"text": "hm", "thought": True}
    image = {"inlineData": {"mimeType": "image/png", "data": "AA=="}}
    answered = {"functionResponse": {"name": "weather", "response": {"sky": "blue"}}}
    request = _request(
        contents=[
            {"parts": [{"text": "a"}, image, {"text": "b"}]},
            {"role": "model", "parts": [thought, {"text": "c"}, call]},
            {"role": "user", "parts": [answered]},
        ]
    )
    assert request.messages == (
        Message(role="user", text="ab", parts=({"text": "a"}, image, {"text": "b"})),
        Message(role="assistant", text="c", parts=(thought, {"text": "c"}, call)),
        Message(role="user", text="", parts=(answered,)),
    )


def test_a_message_without_parts_is_empty() -> None:
    """The format lets a content have none."""
    assert _request(contents=[{"role": "user"}]).messages == (Message(role="user", text="", parts=()),)


def test_a_request_carries_its_key_in_its_own_header() -> None:
    """The key goes where Google looks for it, and not into the address."""
    wire = GEMINI.write_request(REQUEST, "k")
    assert (wire.headers["x-goog-api-key"], wire.path) == ("k", "/v1beta/models/asked:generateContent")


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-2.5-flash", "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"),
        ("tunedModels/mine", "/v1beta/tunedModels/mine:streamGenerateContent?alt=sse"),
    ],
)
def test_a_stream_is_asked_for_in_the_path(model: str, path: str) -> None:
    """Without alt=sse the API would send a list of JSON."""
    request = ProviderRequest(model=model, messages=(), stream=True)
    wire = GEMINI.write_request(request, "k")
    assert (wire.path, json.loads(wire.body)) == (path, {"contents": []})


def test_parameters_go_where_the_format_keeps_them() -> None:
    """Those with a name of their own move into generationConfig; others stay as they are given."""
    params = {
        "max_tokens": 5,
        "temperature": 0,
        "top_p": 0.9,
        "stop": "END",
        "generationConfig": {"responseMimeType": "application/json"},
        "safetySettings": [],
    }
    assert _written(ProviderRequest(model="m", messages=(), params=params)) == {
        "contents": [],
        "safetySettings": [],
        "generationConfig": {
            "responseMimeType": "application/json",
            "maxOutputTokens": 5,
            "temperature": 0,
            "topP": 0.9,
            "stopSequences": ["END"],
        },
    }


def test_max_completion_tokens_is_the_limit_too() -> None:
    """OpenAI's newer name means the same."""
    body = _written(ProviderRequest(model="m", messages=(), params={"max_completion_tokens": 7}))
    assert body["generationConfig"] == {"maxOutputTokens": 7}


def test_roles_are_written_in_geminis_words() -> None:
    """The assistant is the model; system messages move to a member of their own, joined."""
    messages = (
        Message(role="system", text="a"),
        Message(role="user", text="hi"),
        Message(role="assistant", text="hello"),
        Message(role="system", text="b"),
    )
    assert _written(ProviderRequest(model="m", messages=messages)) == {
        "contents": [
            {"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"text": "hello"}]},
        ],
        "systemInstruction": {"parts": [{"text": "a"}, {"text": "b"}]},
    }


def test_functions_are_written_beside_other_tools() -> None:
    """A JSON schema goes into the member that takes all of JSON schema."""
    tool = Tool(name="weather", description="The weather", parameters={"type": "object"})
    body = _written(ProviderRequest(model="m", messages=(), tools=(tool,), params={"tools": [{"googleSearch": {}}]}))
    declared = {"name": "weather", "description": "The weather", "parametersJsonSchema": {"type": "object"}}
    assert body["tools"] == [{"functionDeclarations": [declared]}, {"googleSearch": {}}]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "a Gemini generation request is not JSON (Expecting value: line 1 column 1 (char 0)): ''"),
        (b"3", "a Gemini generation request is not a JSON object: '3'"),
        (
            b'{"tools": []}',
            (
                "a Gemini generation request needs contents (a list of objects); "
                "its contents are missing, it has ['tools']"
            ),
        ),
        (
            b'{"contents": "hi"}',
            (
                "a Gemini generation request needs contents (a list of objects); "
                "its contents are str, it has ['contents']"
            ),
        ),
        (
            b'{"contents": [{"role": "user", "parts": "hi"}]}',
            "a Gemini generation: the parts of a message of role 'user' are str, not a list of objects",
        ),
        (
            b'{"contents": [], "systemInstruction": "be brief"}',
            "a Gemini generation: the parts of a message of role 'system' are str, not a list of objects",
        ),
    ],
    ids=["no JSON", "no object", "no contents", "contents are a text", "parts are a text", "system is a text"],
)
def test_a_request_that_is_none_says_what_is_wrong(body: bytes, message: str) -> None:
    """Each way of being malformed has a message that shows what stood there."""
    with pytest.raises(MalformedExchange) as error:
        GEMINI.read_request(body, PATH)
    assert str(error.value) == message


def test_a_path_without_a_model_is_no_request() -> None:
    """The model is named nowhere else."""
    with pytest.raises(MalformedExchange) as error:
        GEMINI.read_request(b'{"contents": []}', "/v1beta/models")
    assert str(error.value) == "a Gemini generation request names its model in the path, which is '/v1beta/models'"


# Replies


def test_a_documented_reply_is_read() -> None:
    """The prompt's tokens include the cached ones, the candidates' exclude those of thoughts."""
    assert GEMINI.read_reply(_reply(usageMetadata=USAGE, modelVersion="gemini-2.5-flash")) == ProviderReply(
        text="hi",
        model="gemini-2.5-flash",
        usage=Usage(fresh_input=6, cache_read=4, output=2, reasoning=3),
    )


def test_the_smallest_reply_is_read() -> None:
    """A reply that names no model, reports no usage and gives no reason is one all the same."""
    assert GEMINI.read_reply(b'{"candidates":[{"content":{"parts":[{"text":"hi"}]}}]}') == ProviderReply(text="hi")


def test_the_tokens_of_tool_results_are_input() -> None:
    """They are counted beside the prompt and billed like it."""
    usage = {"promptTokenCount": 10, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 1}
    assert GEMINI.read_reply(_reply(usageMetadata=usage)).usage == Usage(fresh_input=15, output=1)


@pytest.mark.parametrize("usage", [None, {}])
def test_usage_that_is_not_reported_is_none(usage: object) -> None:
    """Nothing is estimated when reading."""
    assert GEMINI.read_reply(_reply(usageMetadata=usage)).usage is None


def test_usage_is_read_leniently() -> None:
    """Google leaves zeros out, and nonsense counts as zero."""
    usage = {"promptTokenCount": 3, "candidatesTokenCount": "x", "thoughtsTokenCount": None}
    assert GEMINI.read_reply(_reply(usageMetadata=usage)).usage == Usage(fresh_input=3)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("MODEL_ARMOR", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "stop"),
        ("SOMETHING_NEW", "stop"),
    ],
)
def test_finish_reasons_are_read(said: str, read: str) -> None:
    """Each reason has its word here, and one that is not known is a plain stop."""
    assert GEMINI.read_reply(_reply(reason=said)).finish_reason == read


def test_a_blocked_prompt_is_a_filtered_reply() -> None:
    """It comes with status 200 and without a candidate."""
    body = _bytes({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 9}})
    assert GEMINI.read_reply(body) == ProviderReply(finish_reason="content_filter", usage=Usage(fresh_input=9))


def test_text_is_joined_around_thoughts_and_calls() -> None:
    """Thoughts are no answer; the calls are read in their order and told apart where they have no id."""
    reply = GEMINI.read_reply(
        _reply(
            {"text": "hm", "thought": True},
            {"text": "a"},
            {"functionCall": {"name": "weather", "args": {"city": "Bern"}}},
            {"functionCall": {"name": "clock"}},
            {"text": "b"},
        )
    )
    assert (reply.text, reply.finish_reason, reply.tool_calls) == (
        "ab",
        "tool_calls",
        (ToolCall(name="weather", arguments={"city": "Bern"}, id="call_1"), ToolCall(name="clock", id="call_2")),
    )


def test_the_first_candidate_is_the_answer() -> None:
    """Several may be asked for."""
    body = _bytes({"candidates": [{"content": {"parts": [{"text": text}]}} for text in ("first", "second")]})
    assert GEMINI.read_reply(body).text == "first"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "a Gemini generation reply is not JSON (Expecting value: line 1 column 1 (char 0)): '<html>'"),
        (b"[]", "a Gemini generation reply is not a JSON object: '[]'"),
        (b'{"responseId": "r"}', "a Gemini generation reply has no candidates; it has ['responseId']"),
    ],
    ids=["no JSON", "no object", "no candidates"],
)
def test_a_reply_that_is_none_says_what_is_wrong(body: bytes, message: str) -> None:
    """Each way of being malformed has a message that shows what stood there."""
    with pytest.raises(MalformedExchange) as error:
        GEMINI.read_reply(body)
    assert str(error.value) == message


def test_a_reply_is_written_as_documented() -> None:
    """Every member of the reference, in its place."""
    reply = ProviderReply(text="hi", usage=Usage(fresh_input=6, cache_read=4, output=2, reasoning=3))
    assert json.loads(GEMINI.write_reply(REQUEST, reply)) == {
        "candidates": [
            {"content": {"parts": [{"text": "hi"}], "role": "model"}, "finishReason": "STOP", "index": 0},
        ],
        "usageMetadata": USAGE,
        "modelVersion": "asked",
        "responseId": "scripted",
    }


def test_a_filtered_reply_without_text_is_a_blocked_prompt() -> None:
    """No candidate, so that code which takes the first one meets what it meets in life."""
    value = json.loads(GEMINI.write_reply(REQUEST, ProviderReply(finish_reason="content_filter")))
    assert (value["promptFeedback"], "candidates" in value) == ({"blockReason": "SAFETY"}, False)


def test_a_filtered_reply_with_text_is_a_blocked_answer() -> None:
    """What came before the filter stands in the candidate, with the reason."""
    value = json.loads(GEMINI.write_reply(REQUEST, ProviderReply(text="So", finish_reason="content_filter")))
    assert (value["candidates"][0]["finishReason"], "promptFeedback" in value) == ("SAFETY", False)


def test_a_reply_of_tool_calls_alone_has_no_text_part() -> None:
    """A first part of empty text would hide the call from code that takes the first part."""
    value = json.loads(GEMINI.write_reply(REQUEST, ProviderReply(tool_calls=(ToolCall(name="f", id="c"),))))
    assert value["candidates"][0]["content"]["parts"] == [{"functionCall": {"id": "c", "name": "f", "args": {}}}]


def test_a_reply_without_usage_is_written_with_an_estimate() -> None:
    """Four characters are a token: eight of the question, twelve of the answer."""
    usage = GEMINI.read_reply(GEMINI.write_reply(REQUEST, ProviderReply(text="x" * 12))).usage
    assert usage == Usage(fresh_input=2, output=3)


def test_a_reply_may_report_no_usage() -> None:
    """A provider that does not say what it used cannot be priced."""
    assert GEMINI.read_reply(GEMINI.write_reply(REQUEST, ProviderReply(text="x", reports_usage=False))).usage is None


# Streams


def test_each_chunk_has_the_form_of_a_reply() -> None:
    """Only the last has a reason; each reports the usage so far, so that a sum over them is wrong as in life."""
    reply = ProviderReply(text="a b", usage=Usage(fresh_input=6, cache_read=4, output=2, reasoning=3))
    events = read_events(b"".join(GEMINI.write_stream(REQUEST, reply, ["a", " b"])))
    assert [json.loads(event.data) for event in events] == [
        {
            "candidates": [{"content": {"parts": [{"text": "a"}], "role": "model"}, "index": 0}],
            "modelVersion": "asked",
            "responseId": "scripted",
            "usageMetadata": {"promptTokenCount": 10, "cachedContentTokenCount": 4, "totalTokenCount": 10},
        },
        {
            "candidates": [
                {"content": {"parts": [{"text": " b"}], "role": "model"}, "index": 0, "finishReason": "STOP"}
            ],
            "modelVersion": "asked",
            "responseId": "scripted",
            "usageMetadata": USAGE,
        },
    ]


def test_a_stream_of_tool_calls_alone_has_no_text_part() -> None:
    """A stream says what the whole reply says."""
    reply = ProviderReply(tool_calls=(ToolCall(name="f"),))
    events = list(read_events(b"".join(GEMINI.write_stream(REQUEST, reply, [""]))))
    parts = json.loads(events[0].data)["candidates"][0]["content"]["parts"]
    assert (len(events), [list(part) for part in parts]) == (1, [["functionCall"]])


def test_a_documented_stream_is_read() -> None:
    """Texts and calls are joined; the usage of the last chunk is that of the whole."""
    body = b"".join(
        [
            _chunk({"text": "h"}, usageMetadata={"promptTokenCount": 10}, modelVersion="gemini-2.5-flash"),
            _chunk({"text": "hm", "thought": True}),
            _chunk({"text": "i"}),
            _chunk({"functionCall": {"name": "f", "args": {"a": 1}}}),
            _chunk({"text": ""}, reason="STOP", usageMetadata=USAGE),
        ]
    )
    assert read_stream(GEMINI, body) == ProviderReply(
        text="hi",
        model="gemini-2.5-flash",
        usage=Usage(fresh_input=6, cache_read=4, output=2, reasoning=3),
        tool_calls=(ToolCall(name="f", arguments={"a": 1}),),
    )


def test_a_blocked_prompt_ends_a_stream() -> None:
    """It is the only chunk, and no candidate ever comes."""
    body = b'data: {"promptFeedback": {"blockReason": "OTHER"}}\n\n'
    assert read_stream(GEMINI, body) == ProviderReply(finish_reason="content_filter")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the stream of a Gemini generation was cut off: no chunk gives a finishReason"),
        (_chunk(), "the stream of a Gemini generation was cut off: no chunk gives a finishReason"),
        (
            b'data: {"candidates"',
            (
                "a chunk of a Gemini generation is not JSON (Expecting ':' delimiter: line 1 column 14 (char 13)): "
                "'{\"candidates\"'"
            ),
        ),
        (
            _chunk() + b"data: " + _error(message="Overloaded") + b"\n\n",
            "the stream of a Gemini generation ended in an error: Overloaded",
        ),
    ],
    ids=["empty", "no reason", "half a chunk", "error"],
)
def test_a_stream_that_did_not_end_well_says_so(body: bytes, message: str) -> None:
    """A stream that was cut off is told from one that ended in an error."""
    with pytest.raises(MalformedExchange) as error:
        read_stream(GEMINI, body)
    assert str(error.value) == message


@pytest.mark.parametrize("kind", ["rate_limited", "unavailable", "server_error", "authentication"])
def test_an_error_in_a_stream_keeps_its_class(kind: ErrorClass) -> None:
    """The frame carries the status that the response no longer can."""
    with pytest.raises(StreamFailed) as error:
        read_stream(GEMINI, _chunk() + GEMINI.write_stream_error(Failure(kind=kind, message="So it is")))
    assert error.value.kind == kind


# Errors


@pytest.mark.parametrize(
    ("kind", "status", "word"),
    [
        ("rate_limited", 429, "RESOURCE_EXHAUSTED"),
        ("quota_exhausted", 429, "RESOURCE_EXHAUSTED"),
        ("overloaded", 503, "UNAVAILABLE"),
        ("unavailable", 503, "UNAVAILABLE"),
        ("server_error", 500, "INTERNAL"),
        ("timeout", 504, "DEADLINE_EXCEEDED"),
        ("not_found", 404, "NOT_FOUND"),
        ("context_overflow", 400, "INVALID_ARGUMENT"),
        ("authentication", 400, "INVALID_ARGUMENT"),
        ("permission", 403, "PERMISSION_DENIED"),
        ("bad_request", 400, "INVALID_ARGUMENT"),
    ],
)
def test_an_error_is_written_with_googles_status(kind: ErrorClass, status: int, word: str) -> None:
    """The body repeats the status of the response and gives its name."""
    error = GEMINI.write_error(Failure(kind=kind, message="So it is"))
    said = json.loads(error.body)["error"]
    assert (error.status, said["code"], said["status"]) == (status, status, word)


def test_a_wrong_key_is_an_invalid_argument_with_a_reason() -> None:
    """Google has no 401 for an API key: only the reason in the details tells it from a wrong request."""
    error = GEMINI.write_error(Failure(kind="authentication", message="So it is"))
    assert json.loads(error.body)["error"]["details"] == [
        {
            "@type": f"{RPC}ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
            "metadata": {"service": "generativelanguage.googleapis.com"},
        }
    ]


@pytest.mark.parametrize(
    ("status", "word", "kind"),
    [
        (401, "UNAUTHENTICATED", "authentication"),
        (403, "PERMISSION_DENIED", "permission"),
        (503, "UNAVAILABLE", "unavailable"),
        (501, "UNIMPLEMENTED", "server_error"),
        (400, "FAILED_PRECONDITION", "bad_request"),
    ],
)
def test_the_class_of_an_error_comes_from_its_status(status: int, word: str, kind: str) -> None:
    """Also those that are never written here."""
    said, message = GEMINI.read_error(_error(code=status, status=word))
    assert GEMINI.vocabulary.classify(status, said, message) == kind


def test_the_name_of_the_quota_tells_a_limit_by_the_day() -> None:
    """One by the minute has the same status and the same message."""
    violations = [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]
    word, message = GEMINI.read_error(_error(details=[{"@type": f"{RPC}QuotaFailure", "violations": violations}]))
    assert (word, GEMINI.vocabulary.classify(429, word, message)) == ("RESOURCE_EXHAUSTED per day", "quota_exhausted")


def test_a_prompt_that_is_too_long_is_told_by_its_message() -> None:
    """Google has no reason of its own for it."""
    message = "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576)."
    word, said = GEMINI.read_error(_error(code=400, status="INVALID_ARGUMENT", message=message))
    assert GEMINI.vocabulary.classify(400, word, said) == "context_overflow"


@pytest.mark.parametrize(
    ("seconds", "delay"), [(2, "2s"), (0.5, "0.5s"), (3600, "3600s"), (34.074824224, "34.074824224s")]
)
def test_the_wait_stands_in_the_body(seconds: float, delay: str) -> None:
    """No header says it, so a client that reads headers alone does not wait."""
    error = GEMINI.write_error(Failure(kind="rate_limited", message="So it is", retry_after=seconds))
    details = json.loads(error.body)["error"]["details"]
    assert ([entry["retryDelay"] for entry in details if entry["@type"] == f"{RPC}RetryInfo"], error.headers) == (
        [delay],
        {},
    )


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        (_error(details=[{"@type": f"{RPC}RetryInfo", "retryDelay": "34.5s"}]), 34.5),
        (_error(details=[{"@type": f"{RPC}RetryInfo", "retryDelay": "soon"}]), None),
        (_error(details=[{"@type": f"{RPC}RetryInfo"}]), None),
        (_error(details=[{"@type": f"{RPC}Help"}]), None),
        (_error(), None),
        (b"<html>", None),
    ],
    ids=["seconds", "words", "empty", "other details", "no details", "no JSON"],
)
def test_the_wait_is_read_from_the_body(body: bytes, seconds: float | None) -> None:
    """What is not a number of seconds is no wait."""
    assert retry_delay(body) == seconds


def test_an_error_in_a_list_is_read() -> None:
    """A stream that was asked for without alt=sse is refused that way."""
    assert GEMINI.read_error(b"[" + _error() + b"]\n") == ("RESOURCE_EXHAUSTED", "So it is")


@pytest.mark.parametrize("body", [b"{}", b'{"error": null}', b'{"error": {}}', b"[{}]"])
def test_an_error_without_words_has_none(body: bytes) -> None:
    """Nothing is made up."""
    assert GEMINI.read_error(body) == (None, "")


def test_an_error_page_is_malformed() -> None:
    """HTML of a proxy is no error of a provider."""
    with pytest.raises(MalformedExchange, match="a Gemini error is not JSON"):
        GEMINI.read_error(b"<html>502</html>")
