"""Requests, responses and streams without their secrets; and the last look at a cassette."""

from __future__ import annotations

import base64
import gzip
import json
import sys
from itertools import pairwise
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelroute.cassettes.interaction import Headers, Interaction, RecordedResponse
from pytest_modelroute.cassettes.redaction import Redactor
from pytest_modelroute.cassettes.secrets import Finding
from pytest_modelroute.errors import RecordingError
from pytest_modelroute.providers.sse import read_events
from tests.cassettes.planted import (
    CHAT,
    EMPTY,
    ENVIRONMENT,
    JSON,
    OPENAI,
    SSE,
    Plant,
    anthropic_delta,
    chat,
    chat_chunk,
    events,
    frame,
    made_up,
    plants,
    request,
    response,
)

REDACTOR = Redactor(environment=ENVIRONMENT)
PLANTS = plants()
SECRET = made_up("secret", 30)


def _words(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _as_yaml(interaction: Interaction) -> str:
    return yaml.safe_dump({"interactions": [interaction.to_raw()], "version": 1}, allow_unicode=True)


def _redacted(plant: Plant) -> tuple[Interaction, list[int] | None]:
    kept, sizes = REDACTOR.response(plant.response, plant.sizes)
    return Interaction(request=REDACTOR.request(plant.request), response=kept), sizes


def test_there_are_secrets_of_many_kinds_in_many_places() -> None:
    """The table that the tests below, and those of whole sessions, go through."""
    assert len(PLANTS) >= 60
    assert len({plant.name for plant in PLANTS}) == len(PLANTS)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_no_planted_secret_stays(plant: Plant) -> None:
    """Neither in what a cassette holds nor in a representation that a message may show; and again changes nothing."""
    kept, sizes = _redacted(plant)
    for text in (json.dumps(kept.to_raw(), default=_words, ensure_ascii=False), _as_yaml(kept), repr(kept)):
        assert [secret for secret in plant.secrets if secret in text] == []
    for body in (kept.request.body, kept.response.body):
        assert [secret for secret in plant.secrets if secret in body.decode("latin-1")] == []
    assert REDACTOR.request(kept.request) == kept.request
    assert REDACTOR.response(kept.response, sizes) == (kept.response, sizes)
    if plant.sizes is not None:
        assert sizes is not None
        assert (len(sizes), sum(sizes)) == (len(plant.sizes), len(kept.response.body))
        assert min(sizes) >= 0


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_the_last_look_finds_each_planted_secret_and_nothing_after_redaction(plant: Plant) -> None:
    """In YAML, in JSON and in a line of a journal."""
    kept, _ = _redacted(plant)
    found = REDACTOR.remains(_as_yaml(plant.interaction))
    assert found
    assert [secret for secret in plant.secrets if len(secret) > 8 and secret in repr(found)] == []
    assert REDACTOR.remains(_as_yaml(kept)) == []
    assert REDACTOR.remains(_as_yaml(kept).encode()) == []
    raw = kept.to_raw()
    assert REDACTOR.remains(json.dumps({"interactions": [raw]}, default=_words, indent=1)) == []
    line = json.dumps(raw, default=_words)
    assert REDACTOR.remains(f"{line}\n{line}\n") == []


def test_a_request_keeps_the_headers_that_say_what_was_asked() -> None:
    """All others are dropped, known or not."""
    headers: Headers = (
        ("Content-Type", "application/json"),
        ("accept", "text/event-stream"),
        ("User-Agent", "OpenAI/Python 3.0"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "tools"),
        ("OpenAI-Beta", "assistants=v2"),
        ("X-Amz-Target", "Bedrock.Converse"),
    )
    others = (("Host", "x"), ("traceparent", "x"), ("X-Forwarded-For", "x"), ("Referer", "x"), ("idempotency-key", "x"))
    assert REDACTOR.request(request(headers=(*headers, *others))).headers == headers


def test_a_response_keeps_the_headers_that_clients_act_on() -> None:
    """All others are dropped, known or not."""
    headers: Headers = (
        ("content-type", "application/json"),
        ("Retry-After", "2"),
        ("retry-after-ms", "1500"),
        ("x-should-retry", "true"),
        ("x-ratelimit-remaining-tokens", "10"),
        ("anthropic-ratelimit-requests-limit", "5"),
        ("x-request-id", "req_1"),
        ("request-id", "req_2"),
        ("apim-request-id", "1"),
        ("x-amzn-RequestId", "2"),
        ("openai-processing-ms", "12"),
        ("openai-version", "2020-10-01"),
        ("x-amzn-ErrorType", "ThrottlingException"),
    )
    others = (
        ("date", "x"),
        ("server", "x"),
        ("cf-ray", "x"),
        ("alt-svc", "x"),
        ("set-cookie", "x"),
        ("openai-project", "x"),
    )
    kept, sizes = REDACTOR.response(response(headers=(*headers, *others)))
    assert kept.headers == headers
    assert sizes is None


def test_a_header_that_is_kept_by_setting_is_kept_without_its_secret() -> None:
    """By its name, where that says that it holds one; by its looks elsewhere."""
    redactor = Redactor(keep_headers=("X-Team", "Authorization", "content-length"))
    headers: Headers = (("x-team", "red"), ("X-TEAM", OPENAI), ("authorization", "what ever"), ("content-length", "2"))
    assert redactor.request(request(headers=headers)).headers == (
        ("x-team", "red"),
        ("X-TEAM", "REDACTED"),
        ("authorization", "REDACTED"),
        ("content-length", "2"),
    )
    assert ("content-length", "2") not in redactor.request(request(chat(OPENAI), headers=headers)).headers


def test_method_status_and_reason_are_kept() -> None:
    """A reason is a text like any other."""
    answered = RecordedResponse(status=401, reason=f"Bad key {OPENAI}")
    assert REDACTOR.response(answered)[0] == RecordedResponse(status=401, reason="Bad key REDACTED")
    assert REDACTOR.request(request(b"", method="GET")).method == "GET"


@pytest.mark.parametrize(
    "url",
    [
        CHAT,
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        "https://x.example/a%20b?q=c%2Fd&empty=&flag&=x;y=z#part",
        "https://x.example/v1?key=",
        "http://[::1]:8080/v1?a=1",
    ],
)
def test_a_url_without_secrets_is_left_as_it_is(url: str) -> None:
    """To the letter: quoting and the order of parameters included."""
    assert REDACTOR.url(url) == url


def test_secrets_of_a_url_are_replaced_where_they_stand() -> None:
    """User and password, parameters by their names, also in a fragment; what stands beside them stays."""
    url = "https://me:pw@x.example/v1?alt=sse&api%5Fkey=a+b%20c&X-Amz-Date=1&z=%41#access_token=tok&s=1"
    assert REDACTOR.url(url) == (
        "https://REDACTED@x.example/v1?alt=sse&api%5Fkey=REDACTED&X-Amz-Date=REDACTED&z=%41#access_token=REDACTED&s=1"
    )


CUTS = st.lists(st.integers(0, 120), max_size=12)
SAID = f"First {OPENAI} and then {ENVIRONMENT['MISTRAL_API_KEY']}, both."


def _pieces(text: str, cuts: list[int]) -> list[str]:
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(bounds)]


@settings(deadline=None)
@given(cuts=CUTS, network=st.integers(1, 300))
def test_a_secret_is_cut_out_of_a_stream_wherever_it_was_split(cuts: list[int], network: int) -> None:
    """A law: the pieces, joined, read as the redacted text; the events, and the network's chunks, stay as many."""
    body = events(_pieces(SAID, cuts), chat_chunk)
    sizes = [len(body[at : at + network]) for at in range(0, len(body), network)]
    kept, kept_sizes = REDACTOR.response(response(body, headers=(SSE,)), sizes)
    read = [json.loads(event.data) for event in read_events(kept.body) if event.data != "[DONE]"]
    assert "".join(each["choices"][0]["delta"]["content"] for each in read) == "First REDACTED and then REDACTED, both."
    assert len(read) == len(cuts) + 1
    assert kept_sizes is not None
    assert (len(kept_sizes), sum(kept_sizes)) == (len(sizes), len(kept.body))


@settings(deadline=None)
@given(cuts=CUTS, size=st.integers(1, 50))
def test_what_is_no_secret_keeps_its_place_in_the_chunks_of_the_network(cuts: list[int], size: int) -> None:
    """A chunk that held no part of a secret holds the same bytes as before."""
    body = events(_pieces("Äpfel und Birnen, " * 8, cuts), chat_chunk) + events([OPENAI], chat_chunk)
    sizes = [len(body[at : at + size]) for at in range(0, len(body), size)]
    kept, kept_sizes = REDACTOR.response(response(body, headers=(SSE,)), sizes)
    before = body.index(b"sk-") // size
    assert kept_sizes is not None
    assert kept_sizes[:before] == sizes[:before]
    assert kept.body[: before * size] == body[: before * size]


@settings(deadline=None)
@given(cuts=CUTS)
def test_the_arguments_of_a_streamed_tool_call_stay_json(cuts: list[int]) -> None:
    """Joined, they are JSON without its secret, wherever the stream cut them."""
    arguments = json.dumps({"to": 'x"\\', "password": SECRET, "n": [1]})
    kept, _ = REDACTOR.response(response(events(_pieces(arguments, cuts), anthropic_delta), headers=(SSE,)))
    read = [json.loads(event.data) for event in read_events(kept.body) if event.data != "[DONE]"]
    joined = "".join(each["delta"]["partial_json"] for each in read)
    assert json.loads(joined) == {"to": 'x"\\', "password": "REDACTED", "n": [1]}


def test_events_over_several_lines_comments_and_plain_data_are_looked_through() -> None:
    """A stream may also say a secret in a comment, in data that is no JSON, or in JSON over several lines."""
    body = (
        f': ping {OPENAI}\r\nevent: a\r\ndata: {{\r\ndata: "x": "{OPENAI}"}}\r\n\r\n'
        f"data: {OPENAI[:20]}\r\n\r\ndata:{OPENAI[20:]}\r\n\r\ndata:\ndata:\n\ndata: last {OPENAI}"
    )
    kept, _ = REDACTOR.response(response(body.encode(), headers=(SSE,)))
    assert kept.body.decode() == (
        ': ping REDACTED\r\nevent: a\r\ndata: {\r\ndata: "x": "REDACTED"}\r\n\r\n'
        "data: REDACTED\r\n\r\ndata:\r\n\r\ndata:\ndata:\n\ndata: last REDACTED"
    )


def test_an_event_that_was_cut_off_after_a_wrong_escape_is_looked_through() -> None:
    """It is no JSON, and is read as far as it goes."""
    body = f'data: {{"a": "x"}}\n\ndata: {{"n": 1, "a": "\\x {OPENAI}\\'
    assert REDACTOR.response(response(body.encode(), headers=(SSE,)))[0].body.decode() == body.replace(
        OPENAI, "REDACTED"
    )


def test_equal_secrets_in_events_that_follow_each_other_are_each_replaced() -> None:
    """None of them is taken for the rest of the one before."""
    kept, _ = REDACTOR.response(response(events([OPENAI, OPENAI], chat_chunk), headers=(SSE,)))
    assert kept.body.count(b"REDACTED") == 2


def test_the_frames_of_aws_are_read_by_its_own_client_afterwards() -> None:
    """Lengths and checksums fit; a model's own event in base64 is looked into."""
    from botocore.eventstream import EventStreamBuffer  # type: ignore[import-untyped]

    pieces = ["key ", OPENAI[:9], OPENAI[9:], " ok"]
    plain = b"".join(frame(json.dumps({"delta": {"text": piece}}).encode()) for piece in pieces)
    inner = (json.dumps(anthropic_delta(piece, 0)).encode() for piece in pieces)
    hidden = b"".join(frame(json.dumps({"bytes": base64.b64encode(each).decode()}).encode(), "chunk") for each in inner)
    for body in (plain, hidden, plain + plain[:20], plain + hidden):
        headers = (("content-type", "application/vnd.amazon.eventstream"),)
        kept, _ = REDACTOR.response(response(body, headers=headers))
        buffer: Any = EventStreamBuffer()
        buffer.add_data(kept.body)
        said = [json.loads(message.payload) for message in buffer]
        texts = [
            each["delta"]["text"]
            if "delta" in each
            else json.loads(base64.b64decode(each["bytes"]))["delta"]["partial_json"]
            for each in said
        ]
        assert texts in (["key ", "REDACTED", "", " ok"], ["key ", "REDACTED", "", " ok"] * 2)


def test_sizes_of_an_encoded_body_become_those_of_the_decoded_one() -> None:
    """Also where what was decoded is redacted: gzip that was flushed after each event."""
    import zlib

    pieces = [f"data: {json.dumps(chat_chunk(piece, 0))}\n\n".encode() for piece in ("It is ", OPENAI, " there")]
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    chunks = [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in pieces] + [packer.flush()]
    received = response(b"".join(chunks), headers=(SSE, ("content-encoding", "gzip")))
    kept, sizes = REDACTOR.response(received, [len(chunk) for chunk in chunks])
    assert kept.headers == (SSE,)
    assert sizes == [len(pieces[0]), len(pieces[1]) - len(OPENAI) + len("REDACTED"), len(pieces[2]), 0]


def test_a_body_that_cannot_be_decoded_is_not_recorded() -> None:
    """The message says which encoding."""
    with pytest.raises(RecordingError, match="a body is encoded as 'rot13', which cannot be looked through"):
        REDACTOR.request(request(headers=(("content-encoding", "rot13"),)))


def shout(text: str) -> str:
    """A hook."""
    return text.replace("Smith", "SOMEBODY")


def test_a_hook_sees_every_text_after_us() -> None:
    """URL, values of headers, bodies, messages; and sizes follow what it changed."""
    redactor = Redactor(hook=shout)
    asked = redactor.request(
        request(chat(f"Smith {OPENAI}"), url="https://x.example/Smith", headers=(("accept", "Smith"),))
    )
    assert (asked.url, asked.headers) == ("https://x.example/SOMEBODY", (("accept", "SOMEBODY"),))
    assert b"SOMEBODY REDACTED" in asked.body
    kept, sizes = redactor.response(response(b"Mr Smith, Mrs Smith."), [3, 5, 12])
    assert (kept.body, sizes) == (b"Mr SOMEBODY, Mrs SOMEBODY.", [3, 22, 1])
    assert redactor.text("Smith") == "SOMEBODY"
    assert redactor.url("https://x.example/?u=Smith&key=1") == "https://x.example/?u=SOMEBODY&key=REDACTED"
    assert redactor.response(response(b"\xff Smith"))[0].body == b"\xff Smith"


def raises(text: str) -> str:
    """A hook that fails."""
    raise KeyError(text)


def forgets(text: str) -> str:
    """A hook without a return."""
    return None  # type: ignore[return-value]


def test_a_hook_that_fails_is_named() -> None:
    """What it raised may hold the text, and is not shown."""
    with pytest.raises(RecordingError) as caught:
        Redactor(hook=raises).text("secret thing")
    assert str(caught.value) == (
        f'redact = "{__name__}:raises" raised KeyError: it is given a text, and returns it without its secrets'
    )
    assert caught.value.__cause__ is None
    with pytest.raises(RecordingError, match=r'forgets" returned NoneType: it is given a text, and returns it'):
        Redactor(hook=forgets).text("x")


def test_a_cassette_of_another_tool_is_looked_through() -> None:
    """Headers by their names, folded lines, comments; what people write in place of a secret is none."""
    cassette = f"""\
# recorded with {OPENAI}
interactions:
- request:
    body: '{{"password": "{SECRET}", "api_key": "DUMMY", "secret": "[FILTERED]"}}'
    headers:
      Authorization:
      - Bearer {SECRET}
      X-Api-Key: {SECRET}
      Cookie:
      - DUMMY
      openai-organization:
      - acme
    method: POST
    uri: https://x.example/?key={SECRET}&token=XXXX
  response: &r
    body:
      string: "one\\ntwo\\
        \\ {OPENAI}"
- response: *r
  {OPENAI}: 1
"""
    assert Redactor().remains(cassette) == [
        Finding(kind="OpenAI key", line=1),
        Finding(kind="secret by its name", line=4),
        Finding(kind="header authorization", line=7),
        Finding(kind="header x-api-key", line=8),
        Finding(kind="header openai-organization", line=12),
        Finding(kind="query parameter key", line=14),
        Finding(kind="OpenAI key", line=18),
        Finding(kind="OpenAI key", line=20),
    ]


@pytest.mark.parametrize("key", ["string", "base64_string"])
def test_a_compressed_body_that_cannot_be_looked_into_is_a_finding(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """Nobody knows what is in it."""
    for name in ("brotli", "brotlicffi"):
        monkeypatch.setitem(sys.modules, name, None)
    body = base64.b64encode(b"\x8b\x01\xff").decode()
    tag = "!!binary " if key == "string" else ""
    headers = "headers: {content-encoding: [br]}"
    found = REDACTOR.remains(f"response:\n  {headers}\n  body:\n    {key}: {tag}{body}\n")
    assert found == [Finding(kind="body that cannot be looked into, encoded as 'br'", line=4)]


def test_bytes_that_are_neither_text_nor_base64_are_looked_through() -> None:
    """A file in another charset, a body that is not what it says."""
    assert REDACTOR.remains(b"\xff\xfe " + OPENAI.encode())
    assert REDACTOR.remains(f"response:\n  body:\n    base64_string: '{OPENAI}='\n")
    packed = base64.b64encode(gzip.compress(OPENAI.encode())).decode()
    text = json.dumps({"headers": {"content-encoding": ["gzip"]}, "body": {"base64_string": packed}})
    assert [finding.line for finding in REDACTOR.remains(text)] == [1]


def test_broken_yaml_is_looked_through_as_text() -> None:
    """A file that was cut, or one with conflict markers."""
    assert Redactor().remains(f"a: [\nb: '{OPENAI}\n") == [Finding(kind="OpenAI key", line=2)]
    assert Redactor().remains(f"nothing\nof\n{OPENAI}") == [Finding(kind="OpenAI key", line=3)]


def test_nothing_is_found_in_nothing() -> None:
    """An empty file, an empty body."""
    assert REDACTOR.remains("") == []
    assert REDACTOR.remains(b"") == []
    assert REDACTOR.response(response(b""), [])[1] == []
    assert REDACTOR.response(EMPTY)[0] == RecordedResponse(status=200, reason="OK", headers=(JSON,), body=b"{}")
