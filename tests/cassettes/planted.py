"""
Interactions with a secret in each, of every kind and in every place we know of, and texts that only look like it.

Keys are made up when this is imported, from the hash of their names: this file holds none, and each run has the same.
"""

from __future__ import annotations

import base64
import gzip
import importlib
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256, shake_256
from typing import Any
from urllib.parse import quote

from pytest_modelroute.cassettes.interaction import Headers, Interaction, RecordedRequest, RecordedResponse

JSON = ("content-type", "application/json")
SSE = ("content-type", "text/event-stream; charset=utf-8")
CHAT = "https://api.openai.com/v1/chat/completions"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def made_up(name: str, length: int = 40, letters: str = _LETTERS) -> str:
    """A text that looks random, the same in each run, with a letter in each case and a digit."""
    tail = "".join(letters[byte % len(letters)] for byte in shake_256(name.encode()).digest(length - 3))
    return (letters[0] + letters[-1] + letters[len(letters) // 2] + tail)[:length]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """An interaction with a secret in it."""

    name: str
    secrets: tuple[str, ...]
    "What must not stay; for a secret that is encoded or split its forms and pieces."
    request: RecordedRequest
    response: RecordedResponse
    sizes: tuple[int, ...] | None = None
    "Bytes of the network's chunks."

    @property
    def interaction(self) -> Interaction:
        """As it was, with the secret."""
        return Interaction(request=self.request, response=self.response)


OPENAI = "sk-" + "proj-" + made_up("openai", 60)
ENVIRONMENT = {
    "OPENAI_API_KEY": OPENAI,
    "MISTRAL_API_KEY": made_up("mistral", 32),
    "APP_SECRET": 'p"ä/' + made_up("app", 12) + "\\ü +&",
    "DB_PASSWORD": made_up("db", 8),
    "DATABASE_URL": "postgres://app:" + made_up("url", 14) + "@db.internal/app",
    "AWS_SECRET_ACCESS_KEY": made_up("aws", 20) + "/" + made_up("aws2", 19),
    "AWS_SESSION_TOKEN": made_up("session", 120) + "==",
    "AWS_ACCOUNT_ID": "4" + made_up("account", 11, "0123456789"),
}
"Of the process that records."
EMPTY = RecordedResponse(status=200, reason="OK", headers=(JSON,), body=b"{}")


def request(
    body: bytes = b"{}", *, url: str = CHAT, headers: Headers = (JSON,), method: str = "POST"
) -> RecordedRequest:
    """A request of a model."""
    return RecordedRequest(method=method, url=url, headers=headers, body=body)


def response(body: bytes = b"{}", *, headers: Headers = (JSON,)) -> RecordedResponse:
    """A reply."""
    return RecordedResponse(status=200, reason="OK", headers=headers, body=body)


def kinds() -> dict[str, str]:
    """A secret of each kind that can be told by its looks."""
    hexes = "0123456789abcdef"
    segments = (json.dumps({"alg": "HS256", "typ": "JWT"}), json.dumps({"sub": made_up("sub", 10)}))
    jwt = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in segments)
    pem = "\n".join(made_up(f"pem{line}", 64) for line in range(4))
    label = "PRIVATE " + "KEY"
    return {
        "openai": OPENAI,
        "openai-service": "sk-" + "svcacct-" + made_up("service", 50),
        "openai-old": "sk-" + made_up("old", 48),
        "litellm": "sk-" + made_up("lite", 10) + "-" + made_up("lite2", 11),
        "anthropic": "sk-" + "ant-api03-" + made_up("ant", 90) + "-AA",
        "openrouter": "sk-" + "or-v1-" + made_up("router", 64, hexes),
        "langfuse": "sk-" + "lf-" + made_up("lf", 32, hexes),
        "google": "AI" + "za" + made_up("google", 35),
        "google-new": "AQ" + "." + made_up("google-new", 50),
        "google-token": "ya29" + "." + made_up("token", 100),
        "google-refresh": "1/" + "/0" + made_up("refresh", 60),
        "google-client": "GOC" + "SPX-" + made_up("client", 28),
        "groq": "gsk" + "_" + made_up("groq", 52),
        "xai": "xai" + "-" + made_up("xai", 80),
        "huggingface": "hf" + "_" + made_up("hf", 34),
        "replicate": "r8" + "_" + made_up("r8", 37),
        "perplexity": "pplx" + "-" + made_up("pplx", 48),
        "nvidia": "nvapi" + "-" + made_up("nv", 64),
        "cerebras": "csk" + "-" + made_up("csk", 48),
        "fireworks": "fw" + "_" + made_up("fw", 24),
        "langsmith": "lsv2" + "_pt_" + made_up("ls", 32, hexes) + "_" + made_up("ls2", 10, hexes),
        "databricks": "da" + "pi" + made_up("dapi", 32, hexes),
        "pinecone": "pcsk" + "_" + made_up("pine", 60),
        "github": "gh" + "p_" + made_up("gh", 36),
        "github-fine": "github" + "_pat_" + made_up("fine", 22) + "_" + made_up("fine2", 59),
        "gitlab": "gl" + "pat-" + made_up("gl", 20),
        "slack": "xo" + "xb-" + made_up("s1", 12, "0123456789") + "-" + made_up("s2", 24),
        "stripe": "sk" + "_live_" + made_up("stripe", 24),
        "stripe-webhook": "wh" + "sec_" + made_up("whsec", 32),
        "sendgrid": "SG" + "." + made_up("sg", 22) + "." + made_up("sg2", 43),
        "npm": "npm" + "_" + made_up("npm", 36),
        "pypi": "pypi" + "-AgE" + made_up("pypi", 80),
        "aws-key-id": "AK" + "IA" + made_up("akia", 16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
        "aws-temporary": "AS" + "IA" + made_up("asia", 16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
        "jwt": jwt + "." + made_up("jwt", 43),
        "pem": f"-----BEGIN {label}-----\n{pem}\n-----END {label}-----",
        "organisation": "org" + "-" + made_up("org", 24),
        "project": "proj" + "_" + made_up("proj", 24),
    }


def chat(text: str) -> bytes:
    """The body of a chat request."""
    body = {"model": "gpt-5-nano", "messages": [{"role": "user", "content": text}]}
    return json.dumps(body, ensure_ascii=False).encode()


def events(pieces: Sequence[str], make: Callable[[str, int], Any]) -> bytes:
    """A stream of server-sent events that says these pieces."""
    frames = [f"data: {json.dumps(make(piece, number))}\n\n" for number, piece in enumerate(pieces)]
    return ("".join(frames) + "data: [DONE]\n\n").encode()


def chat_chunk(piece: str, number: int) -> Any:
    """A chunk of an OpenAI chat."""
    return {"id": "chatcmpl-" + made_up("id", 29), "choices": [{"index": 0, "delta": {"content": piece}}]}


def two_choices(piece: str, number: int) -> Any:
    """A chunk of one of two choices that are streamed at once; the other one says nothing of interest."""
    said = {"index": 1, "delta": {"content": piece}}
    return {"choices": [said] if number % 2 else [{"index": 0, "delta": {"content": " well "}}, said]}


def anthropic_delta(piece: str, number: int) -> Any:
    """A piece of a tool's arguments, streamed by Anthropic."""
    return {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": piece}}


def responses_delta(piece: str, number: int) -> Any:
    """A piece of a text, in the Responses API, between pieces of a summary."""
    kind = "response.output_text.delta" if number % 2 else "response.reasoning_summary_text.delta"
    return {"type": kind, "output_index": 0, "content_index": 0, "delta": piece if number % 2 else "thinking "}


def frame(payload: bytes, kind: str = "contentBlockDelta") -> bytes:
    """One frame of AWS."""
    head = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in ((":event-type", kind), (":content-type", "application/json"), (":message-type", "event"))
    )
    prelude = struct.pack(">II", 12 + len(head) + len(payload) + 4, len(head))
    whole = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def cut(text: str, size: int) -> list[str]:
    """A text in pieces of this many characters."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def compressors() -> dict[str, Callable[[bytes], bytes]]:
    """The content encodings whose packages are installed."""
    bare = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    found: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "x-deflate": lambda body: bare.copy().compress(body) + _flushed(bare, body),
    }
    for module, name, encoding in (
        ("brotli", "compress", "br"),
        ("zstandard", "compress", "zstd"),
        ("backports.zstd", "compress", "zstd"),
        ("compression.zstd", "compress", "zstd"),
    ):
        try:
            found[encoding] = getattr(importlib.import_module(module), name)
        except ImportError:
            continue
    return found


def _flushed(bare: Any, body: bytes) -> bytes:
    copy = bare.copy()
    return bytes(copy.compress(body)[len(bare.copy().compress(body)) :] + copy.flush())


def plants() -> list[Plant]:
    """Every plant; their names are unique."""
    return [*_by_looks(), *_in_headers(), *_in_urls(), *_in_bodies(), *_by_value(), *_in_streams(), *_encoded()]


def _plant(name: str, *secrets: str, **parts: Any) -> Plant:
    return Plant(name=name, secrets=secrets, **{"request": request(), "response": EMPTY, **parts})


def _by_looks() -> Iterator[Plant]:
    for name, secret in kinds().items():
        yield _plant(f"prompt-{name}", *secret.split("\n"), request=request(chat(f"my key is {secret} ok?")))
        yield _plant(f"reply-{name}", *secret.split("\n"), response=response(json.dumps({"a": [secret]}).encode()))


def _in_headers() -> Iterator[Plant]:
    value = made_up("header", 30)
    for name in (
        *("Authorization", "Cookie", "X-Api-Key", "api-key", "x-goog-api-key", "OpenAI-Organization", "OpenAI-Project"),
        *("X-Amz-Security-Token", "Proxy-Authorization", "x-goog-user-project", "Ocp-Apim-Subscription-Key"),
    ):
        yield _plant(f"request-header-{name}", value, request=request(headers=(JSON, (name, value))))
    for name in ("Set-Cookie", "openai-organization", "openai-project", "anthropic-organization-id"):
        yield _plant(f"response-header-{name}", value, response=response(headers=(JSON, (name, value))))
    yield _plant("user-agent", OPENAI, request=request(headers=(("user-agent", f"app/1.0 ({OPENAI})"),)))
    yield _plant("request-id", OPENAI, response=response(headers=(JSON, ("x-request-id", OPENAI))))


def _in_urls() -> Iterator[Plant]:
    value = made_up("query", 24)
    for name in (
        *("key", "api_key", "api-key", "apiKey", "access_token", "token", "sig", "signature", "code", "client_secret"),
        *("X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "subscription-key"),
    ):
        yield _plant(
            f"query-{name}", value, request=request(url=f"https://host.example/v1/a?alt=sse&{name}={value}&b=1")
        )
    yield _plant("userinfo", value, request=request(url=f"https://me:{value}@host.example/v1"))
    yield _plant("user-alone", value, request=request(url=f"https://{value}@host.example/v1"))
    yield _plant("path", OPENAI, request=request(url=f"https://host.example/v1/{OPENAI}/x"))
    quoted = "sk%2Dproj%2D" + OPENAI[8:]
    yield _plant("path-quoted", OPENAI[8:], request=request(url=f"https://host.example/v1/{quoted}/x"))
    project = "acme-" + made_up("vertex", 8, "abcdefgh0123456789")
    vertex = f"https://aiplatform.googleapis.com/v1/projects/{project}/locations/x/publishers/google/models/g:generate"
    yield _plant("vertex-project", project, request=request(url=vertex))
    arn = f"arn:aws:bedrock:us-east-1:{made_up('arn', 12, '0123456789')}:inference-profile/x"
    model = f"https://bedrock-runtime.us-east-1.amazonaws.com/model/{quote(arn, safe='')}/converse"
    yield _plant("arn-in-path", arn.split(":")[4], request=request(url=model))
    yield _plant("fragment", value, request=request(url=f"https://host.example/cb#access_token={value}&x=1"))


def _in_bodies() -> Iterator[Plant]:
    value = made_up("member", 11)
    for name in (
        *("api_key", "apiKey", "authorization", "password", "client_secret", "access_token", "refresh_token", "secret"),
        *("private_key_id", "openai_api_key", "Set-Cookie"),
    ):
        yield _plant(f"member-{name}", value, request=request(json.dumps({"deep": [{"er": {name: value}}]}).encode()))
    yield _plant("member-list", value, request=request(json.dumps({"api_keys": ["", value]}).encode()))
    arguments = json.dumps({"url": "https://x.example", "api_key": value})
    call = {"tool_calls": [{"function": {"name": "get", "arguments": arguments}}]}
    yield _plant("tool-arguments", value, response=response(json.dumps(call).encode()))
    twice = json.dumps({"a": json.dumps({"b": json.dumps({"password": value})})})
    yield _plant("json-in-json-in-json", value, request=request(twice.encode()))
    yield _plant("json-name", OPENAI, request=request(json.dumps({OPENAI: 1}).encode()))
    escaped = "".join(f"\\u{ord(each):04x}" for each in OPENAI)
    yield _plant("escaped-json", escaped, request=request(f'{{"a": "x{escaped}y"}}'.encode()))
    yield _plant("bearer-text", value + value, request=request(chat(f"curl -H 'Authorization: Bearer {value}{value}'")))
    basic = base64.b64encode(f"me:{value}".encode()).decode()
    yield _plant("basic-text", basic, request=request(chat(f"use Basic {basic} please")))
    yield _plant("assignment", value, request=request(chat(f"export API_KEY={value} && run")))
    yield _plant("cookie-text", value, request=request(chat(f"Cookie: session={value}; x=1")))
    yield _plant("url-text", value, request=request(chat(f"git clone https://bot:{value}@git.example/x")))
    form = ("content-type", "application/x-www-form-urlencoded")
    body = f"grant_type=refresh_token&client_secret={value}&x=1".encode()
    yield _plant("form", value, request=request(body, headers=(form,), url="https://oauth2.googleapis.com/token"))
    part = f'--b\r\nContent-Disposition: form-data; name="api_key"\r\n\r\n{value}\r\n--b--\r\n'.encode()
    multipart = ("content-type", "multipart/form-data; boundary=b")
    yield _plant("multipart", value, request=request(part, headers=(multipart,)))
    yield _plant("binary", OPENAI, request=request(b"\xff\xfe\x00" + OPENAI.encode() + b"\x00\xff", headers=()))
    number = made_up("number", 12, "123456789")
    error = {
        "error": {"message": f"API has not been used in project {number} before", "consumer": f"projects/{number}"}
    }
    yield _plant("google-error", number, response=response(json.dumps(error).encode()))
    signature = made_up("signature", 64, "0123456789abcdef")
    signed = (
        f"AWS4-HMAC-SHA256 Credential={made_up('x', 20)}/20261124/us-east-1/bedrock/aws4_request, Signature={signature}"
    )
    yield _plant("aws-signature", signature, request=request(chat(signed)))


def _by_value() -> Iterator[Plant]:
    for name in ("MISTRAL_API_KEY", "APP_SECRET", "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        value = ENVIRONMENT[name]
        data = value.encode()
        forms = {
            "plain": value,
            "quoted": quote(value, safe=""),
            "hex": data.hex(),
            "HEX": data.hex().upper(),
            **{f"base64-{at}": base64.b64encode(b"usr:"[:at] + data).decode() for at in range(4)},
            **{f"urlsafe-{at}": base64.urlsafe_b64encode(b"usr:"[:at] + data).decode() for at in range(4)},
        }
        for form, text in forms.items():
            yield _plant(f"value-{name}-{form}", text, _inside(text), request=request(chat(f"it is {text} I think")))
        yield _plant(f"value-{name}-json", json.dumps(value)[1:-1], request=request(json.dumps([value]).encode()))
        slashes = json.dumps(value)[1:-1].replace("/", "\\/")
        yield _plant(f"value-{name}-slashes", slashes, request=request(f'["{slashes}"]'.encode()))
        yield _plant(f"value-{name}-url", quote(value), request=request(url=f"https://x.example/a/{quote(value)}?q=1"))
    password = ENVIRONMENT["DATABASE_URL"][15:29]
    yield _plant("value-of-a-url", password, response=response(json.dumps({"error": f"login {password}"}).encode()))
    account = ENVIRONMENT["AWS_ACCOUNT_ID"]
    yield _plant("value-number", account, request=request(f'{{"account": {account}}}'.encode()))


def _inside(text: str) -> str:
    """The middle of an encoded form: not even that may stay."""
    return text[3:-4] if len(text) > 20 else text  # of a short one it would be a letter


def _in_streams() -> Iterator[Plant]:
    said = f"The key is {OPENAI}, keep it."
    makers: dict[str, Callable[[str, int], Any]] = {
        "chat": chat_chunk,
        "two-choices": two_choices,
        "anthropic": anthropic_delta,
    }
    for name, make in makers.items():
        for size in (1, 2, 3, 5, 8, 13, 30):
            body = events(cut(said, size), make)
            inside = [piece for piece in cut(said, size) if len(piece) > 4 and piece in OPENAI]
            parts = {"response": response(body, headers=(SSE,)), "sizes": tuple(map(len, cut(body.decode(), 100)))}
            yield _plant(f"stream-{name}-{size}", OPENAI, *inside, **parts)
    pieces = [piece for each in cut(said, 6) for piece in ("", each)]
    yield _plant(
        "stream-responses", *cut(said, 6)[3:9], response=response(events(pieces, responses_delta), headers=(SSE,))
    )
    value = made_up("streamed", 20)
    arguments = json.dumps({"to": "x", "password": value})
    yield _plant("stream-tool", value, response=response(events(cut(arguments, 25), anthropic_delta), headers=(SSE,)))
    lines = "".join(json.dumps({"message": {"content": piece}, "done": False}) + "\n" for piece in cut(said, 9))
    ndjson = ("content-type", "application/x-ndjson")
    yield _plant("stream-lines", *cut(said, 9)[2:7], response=response(lines.encode(), headers=(ndjson,)))
    items = [{"candidates": [{"content": {"parts": [{"text": piece}]}}]} for piece in cut(said, 9)]
    yield _plant("stream-list", *cut(said, 9)[2:7], response=response(json.dumps(items).encode()))
    aws = ("content-type", "application/vnd.amazon.eventstream")
    frames = b"".join(frame(json.dumps({"delta": {"text": piece}, "p": "abc"}).encode()) for piece in cut(said, 9))
    yield _plant("stream-aws", *cut(said, 9)[2:7], response=response(frames, headers=(aws,)))
    inner = [json.dumps(anthropic_delta(piece, 0)).encode() for piece in cut(said, 9)]
    shells = [json.dumps({"bytes": base64.b64encode(each).decode(), "p": "abcd"}).encode() for each in inner]
    hidden = tuple(base64.b64encode(each).decode() for each in inner[2:7])
    yield _plant("stream-aws-bytes", *hidden, response=response(b"".join(map(frame, shells)), headers=(aws,)))
    cut_off = events(cut(said, 9), chat_chunk).split(made_up("id", 29).encode())
    whole = events(cut(said, 9), chat_chunk)[: -len(cut_off[-1]) + 60]
    yield _plant("stream-cut-off", *cut(said, 9)[2:7], response=response(whole, headers=(SSE,)))


def _encoded() -> Iterator[Plant]:
    body = json.dumps({"choices": [{"message": {"content": f"{OPENAI} {sha256(b'x').hexdigest()}"}}]}).encode()
    for name, compress in compressors().items():
        packed = compress(body)
        encoding = name.removeprefix("x-") if name == "x-deflate" else name
        headers = (JSON, ("Content-Encoding", encoding), ("Content-Length", str(len(packed))))
        parts = {
            "response": response(packed, headers=headers),
            "sizes": tuple(len(packed[at : at + 7]) for at in range(0, len(packed), 7)),
        }
        yield _plant(f"encoded-{name}", OPENAI, **parts)
        yield _plant(f"encoded-request-{name}", OPENAI, request=request(packed, headers=headers))


def look_alikes() -> list[str]:
    """Texts that have something of a secret, and are none."""
    image = base64.b64encode(shake_256(b"image").digest(6000)).decode()
    return [
        "123e4567-e89b-12d3-a456-426614174000",
        sha256(b"commit").hexdigest(),
        sha256(b"commit").hexdigest()[:40],
        f"sha256:{sha256(b'layer').hexdigest()}",
        f"data:image/png;base64,{image}",
        image,
        "gpt-4o-2024-08-06",
        "claude-sonnet-4-5-20250929",
        "us.anthropic.claude-3-5-sonnet-20241022-v2:0",
        "models/gemini-2.5-flash-preview-09-2025",
        "chatcmpl-" + made_up("a", 29),
        "req_" + made_up("b", 24),
        "req_011" + made_up("c", 21),
        "msg_01" + made_up("d", 22),
        "call_" + made_up("e", 24),
        "toolu_01" + made_up("f", 22),
        "resp_" + made_up("g", 48, "0123456789abcdef"),
        "fp_" + made_up("h", 10, "0123456789abcdef"),
        "file-" + made_up("i", 24),
        "asst_" + made_up("j", 24),
        "thread_" + made_up("k", 24),
        "sk-learn and scikit-learn-intelex",
        "sk-learn-text-classification-with-naive-bayes",
        "task-" + made_up("l", 30),
        "risk-" + made_up("m", 30),
        "org-mode and org-roam-capture-templates",
        "hf_hub_download, hf_transfer",
        "xai-explainability-methods",
        "npm_config_registry",
        '"api_key": ""',
        '{"api_key": "", "password": null, "secret": false}',
        '{"type": "object", "properties": {"password": {"type": "string"}}, "required": ["api_key", "password"]}',
        '{"max_tokens": 1000000, "token": "Hello", "logprob": -0.5}',
        '{"usage": {"prompt_tokens": 10, "completion_tokens": 123456789}}',
        '{"signature": "' + made_up("thinking", 200) + '"}',
        '{"key": "value", "cache_key": "user-profile"}',
        "The bearer of this letter needs basic authentication and Basic understanding.",
        "Bearer tokens are explained below; basic functionality too",
        "The token is the smallest unit; the secret: patience. The key: practice.",
        "Enter your password: it must have 8 characters",
        "src/projects/web-shop/models.py is not a project id, nor is projects/web-shop/",
        "write to me@example.com or see https://example.com/@me?mail=you@example.com",
        "eyJ is how JSON web tokens begin",
        "-----BEGIN CERTIFICATE-----",
        "AKIA begins an access key id, ASIA a temporary one",
        "arn:aws:s3:::bucket/object",
        "api_key=os.environ['OPENAI_API_KEY']",
        "https://api.openai.com/v1/chat/completions?api-version=2024-10-21&alt=sse",
        "2026-11-24T15:00:00.123456Z",
        "+49 170 1234567, 4111 1111 1111 1111",
        "REDACTED",
        "模型 füchs \U0001f600 \u2028",
    ]
