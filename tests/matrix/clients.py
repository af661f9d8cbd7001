"""The real clients of the fault matrix, each asked once in every mode that it has."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    closing,
    contextmanager,
)
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Any, Literal, TypeAlias

Mode: TypeAlias = Literal["sync", "sync stream", "async", "async stream"]
MODES: tuple[Mode, ...] = ("sync", "sync stream", "async", "async stream")
PROMPT = "hi"
MODEL = "gpt-5-mini"
BEDROCK_MODEL = "anthropic.claude-haiku-4-5-20251001-v1:0"
MESSAGES = [{"role": "user", "content": PROMPT}]


@dataclass
class Heard:
    """What a client gave to the code that asked it."""

    pieces: list[str] = field(default_factory=list)
    "The texts of a stream, or the one text of a whole reply."
    model: str | None = None
    "The model that the reply names."
    has_usage: bool = False
    odd: str = ""
    "What came in place of a reply."
    said: list[Any] = field(default_factory=list)
    "The reply, or each piece of a stream, as the client has it."
    moments: list[float] = field(default_factory=list)
    "When each of them came, on the clock of the code that asked."

    def take(self, said: Any) -> None:
        """Keep what came, and when."""
        self.said.append(said)
        self.moments.append(time.perf_counter())

    def is_text(self, reply: object) -> bool:
        """Whether a client handed over bare text: some do that with a body they cannot read."""
        if isinstance(reply, str):
            self.odd = "a `str` in place of a reply"
        return bool(self.odd)


server_url: ContextVar[Callable[[str], str]] = ContextVar("server_url")
"Where the real server of this cell is, for clients that cannot be intercepted in process."
live_url: ContextVar[str | None] = ContextVar("live_url", default=None)
"Where a live provider stands, for a client that takes its address from no variable of the environment."
Ask: TypeAlias = Callable[[Heard], None]


@dataclass(frozen=True)
class Client:
    """A client library as its users call it, with the defaults that it has."""

    name: str
    stack: str
    "The HTTP library below."
    model: str
    modes: dict[Mode, Ask]
    but: str = ""
    "What is not as it is by default."

    @property
    def version(self) -> str:
        """The release that is installed."""
        return version(self.name.partition(" ")[0].removesuffix(","))


@cache
def tls() -> ssl.SSLContext:
    """One for all clients: making one takes longer than a call."""
    return ssl.create_default_context()


@dataclass(frozen=True, kw_only=True)
class _Calls:
    """How a library is asked: with a client that is opened for each call and closed after it."""

    opened: Callable[[], AbstractContextManager[Any]] | None = None
    aopened: Callable[[], AbstractAsyncContextManager[Any]] | None = None
    whole: Callable[[Any], Any]
    take: Callable[[Heard, Any], None]
    stream: Callable[[Any], Any] | None = None
    take_piece: Callable[[Heard, Any], None] = lambda _heard, _piece: None
    awhole: Callable[[Any], Any] | None = None
    "As `whole` where left out, whose result is awaited then."
    astream: Callable[[Any], Any] | None = None

    def modes(self) -> dict[Mode, Ask]:
        """The modes that the library has."""
        asks: dict[Mode, Ask] = {
            "sync": self._sync,
            "sync stream": self._sync_stream,
            "async": self._async,
            "async stream": self._async_stream,
        }
        missing = [
            *(["sync"] if self.opened is None else []),
            *(["async"] if self.aopened is None else []),
            *(["stream"] if self.stream is None else []),
        ]
        return {mode: ask for mode, ask in asks.items() if not set(mode.split()) & set(missing)}

    def _sync(self, heard: Heard) -> None:
        assert self.opened is not None
        with self.opened() as client:
            reply = self.whole(client)
            heard.take(reply)
            if not heard.is_text(reply):
                self.take(heard, reply)

    def _sync_stream(self, heard: Heard) -> None:
        assert self.opened is not None
        assert self.stream is not None
        with self.opened() as client:
            for piece in self.stream(client):
                heard.take(piece)
                self.take_piece(heard, piece)

    def _async(self, heard: Heard) -> None:
        assert self.aopened is not None
        aopened = self.aopened

        async def ask() -> None:
            async with aopened() as client:
                reply = await (self.awhole or self.whole)(client)
                heard.take(reply)
                if not heard.is_text(reply):
                    self.take(heard, reply)

        asyncio.run(ask())

    def _async_stream(self, heard: Heard) -> None:
        stream = self.astream or self.stream
        assert self.aopened is not None
        assert stream is not None
        aopened = self.aopened

        async def ask() -> None:
            async with aopened() as client:
                async for piece in await stream(client):
                    heard.take(piece)
                    self.take_piece(heard, piece)

        asyncio.run(ask())


def _take_openai(heard: Heard, reply: Any) -> None:
    heard.pieces.append(reply.choices[0].message.content)
    heard.model, heard.has_usage = reply.model, reply.usage is not None


def _take_openai_chunk(heard: Heard, chunk: Any) -> None:
    heard.pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
    heard.model = chunk.model
    heard.has_usage = heard.has_usage or chunk.usage is not None


def openai_client(name: str, library: str) -> Client:
    """Chat completions by openai over httpx2 or httpx."""
    import openai

    http = import_module(library)
    asked: Any = {"model": MODEL, "messages": MESSAGES}
    calls = _Calls(
        opened=lambda: openai.OpenAI(api_key="key", http_client=http.Client(verify=tls())),
        aopened=lambda: openai.AsyncOpenAI(api_key="key", http_client=http.AsyncClient(verify=tls())),
        whole=lambda client: client.chat.completions.create(**asked),
        stream=lambda client: client.chat.completions.create(
            stream=True, stream_options={"include_usage": True}, **asked
        ),
        take=_take_openai,
        take_piece=_take_openai_chunk,
    )
    return Client(name, library, MODEL, calls.modes())


def openai_aiohttp_client() -> Client:
    """Chat completions by openai's aiohttp variant, which is async alone."""
    import openai

    asked: Any = {"model": MODEL, "messages": MESSAGES}
    calls = _Calls(
        aopened=lambda: openai.AsyncOpenAI(api_key="key", http_client=openai.DefaultAioHttpClient()),
        whole=lambda client: client.chat.completions.create(**asked),
        stream=lambda client: client.chat.completions.create(
            stream=True, stream_options={"include_usage": True}, **asked
        ),
        take=_take_openai,
        take_piece=_take_openai_chunk,
    )
    return Client("openai over aiohttp", "aiohttp", MODEL, calls.modes())


def _take_response(heard: Heard, reply: Any) -> None:
    heard.pieces.append(reply.output_text)
    heard.model, heard.has_usage = reply.model, reply.usage is not None


def _take_response_event(heard: Heard, event: Any) -> None:
    if event.type == "response.output_text.delta":
        heard.pieces.append(event.delta)
    elif event.type in ("response.completed", "response.incomplete"):
        heard.model, heard.has_usage = event.response.model, event.response.usage is not None


def responses_client() -> Client:
    """OpenAI's responses by openai."""
    import httpx2
    import openai

    asked: Any = {"model": MODEL, "input": PROMPT}
    calls = _Calls(
        opened=lambda: openai.OpenAI(api_key="key", http_client=httpx2.Client(verify=tls())),
        aopened=lambda: openai.AsyncOpenAI(api_key="key", http_client=httpx2.AsyncClient(verify=tls())),
        whole=lambda client: client.responses.create(**asked),
        stream=lambda client: client.responses.create(stream=True, **asked),
        take=_take_response,
        take_piece=_take_response_event,
    )
    return Client("openai, responses", "httpx2", MODEL, calls.modes())


def _take_vectors(heard: Heard, reply: Any) -> None:
    heard.pieces.append(f"{len(reply.data)} vectors")
    heard.model, heard.has_usage = reply.model, reply.usage is not None


def embeddings_client() -> Client:
    """OpenAI's embeddings by openai; they have no stream."""
    import httpx2
    import openai

    model = "text-embedding-3-small"
    calls = _Calls(
        opened=lambda: openai.OpenAI(api_key="key", http_client=httpx2.Client(verify=tls())),
        aopened=lambda: openai.AsyncOpenAI(api_key="key", http_client=httpx2.AsyncClient(verify=tls())),
        whole=lambda client: client.embeddings.create(model=model, input=PROMPT),
        take=_take_vectors,
    )
    return Client("openai, embeddings", "httpx2", model, calls.modes())


def _take_message(heard: Heard, reply: Any) -> None:
    heard.pieces += [block.text for block in reply.content if block.type == "text"]
    heard.model, heard.has_usage = reply.model, reply.usage is not None


def _take_message_event(heard: Heard, event: Any) -> None:
    if event.type == "message_start":
        heard.model = event.message.model
    elif event.type == "content_block_delta" and event.delta.type == "text_delta":
        heard.pieces.append(event.delta.text)
    elif event.type == "message_delta":
        heard.has_usage = event.usage is not None


def anthropic_client() -> Client:
    """Messages by anthropic."""
    import anthropic
    import httpx2

    model = "claude-sonnet-4-5"
    asked: Any = {"model": model, "max_tokens": 99, "messages": MESSAGES}
    calls = _Calls(
        opened=lambda: anthropic.Anthropic(api_key="key", http_client=httpx2.Client(verify=tls())),
        aopened=lambda: anthropic.AsyncAnthropic(api_key="key", http_client=httpx2.AsyncClient(verify=tls())),
        whole=lambda client: client.messages.create(**asked),
        stream=lambda client: client.messages.create(stream=True, **asked),
        take=_take_message,
        take_piece=_take_message_event,
    )
    return Client("anthropic", "httpx2", model, calls.modes())


def _take_gemini(heard: Heard, reply: Any) -> None:
    heard.pieces += [reply.text] if reply.text else []
    heard.model = reply.model_version or heard.model
    heard.has_usage = heard.has_usage or reply.usage_metadata is not None


def gemini_client() -> Client:
    """Google's generateContent by google-genai."""
    import httpx2
    from google import genai
    from google.genai import types

    model = "gemini-2.5-flash"
    asked: Any = {"model": model, "contents": PROMPT}

    # Clients that it is given are not its own to close.
    @contextmanager
    def opened() -> Generator[Any]:
        with httpx2.Client(verify=tls()) as http:
            yield made(http, httpx2.AsyncClient(verify=tls()))

    @asynccontextmanager
    async def aopened() -> AsyncGenerator[Any]:
        async with httpx2.AsyncClient(verify=tls()) as http:
            yield made(httpx2.Client(verify=tls()), http).aio

    def made(http: httpx2.Client, async_http: httpx2.AsyncClient) -> genai.Client:
        options = types.HttpOptions(httpx_client=http, httpx_async_client=async_http)
        return genai.Client(api_key="key", http_options=options)

    calls = _Calls(
        opened=opened,
        aopened=aopened,
        whole=lambda client: client.models.generate_content(**asked),
        stream=lambda client: client.models.generate_content_stream(**asked),
        take=_take_gemini,
        take_piece=_take_gemini,
    )
    return Client("google-genai", "httpx2", model, calls.modes())


def gemini_aiohttp_client() -> Client:
    """The same as google-genai has it by default in async code, where aiohttp is installed."""
    from google import genai

    model = "gemini-2.5-flash"
    asked: Any = {"model": model, "contents": PROMPT}
    calls = _Calls(
        aopened=lambda: genai.Client(api_key="key").aio,
        whole=lambda client: client.models.generate_content(**asked),
        stream=lambda client: client.models.generate_content_stream(**asked),
        take=_take_gemini,
        take_piece=_take_gemini,
    )
    return Client("google-genai over aiohttp", "aiohttp", model, calls.modes())


def _take_mistral_event(heard: Heard, event: Any) -> None:
    _take_openai_chunk(heard, event.data)


def mistral_client() -> Client:
    """Mistral's chat by mistralai."""
    import httpx2
    from mistralai.client import Mistral

    model = "mistral-small-latest"
    asked: Any = {"model": model, "messages": MESSAGES}

    # Clients that it is given are not its own to close.
    @contextmanager
    def opened() -> Generator[Mistral]:
        with httpx2.Client(verify=tls()) as http:
            yield made(http, httpx2.AsyncClient(verify=tls()))

    @asynccontextmanager
    async def aopened() -> AsyncGenerator[Mistral]:
        async with httpx2.AsyncClient(verify=tls()) as http:
            yield made(httpx2.Client(verify=tls()), http)

    def made(http: httpx2.Client, async_http: httpx2.AsyncClient) -> Mistral:
        return Mistral(api_key="key", server_url=live_url.get(), client=http, async_client=async_http)

    calls = _Calls(
        opened=opened,
        aopened=aopened,
        whole=lambda client: client.chat.complete(**asked),
        stream=lambda client: client.chat.stream(**asked),
        awhole=lambda client: client.chat.complete_async(**asked),
        astream=lambda client: client.chat.stream_async(**asked),
        take=_take_openai,
        take_piece=_take_mistral_event,
    )
    return Client("mistralai", "httpx2", model, calls.modes())


def _take_ollama(heard: Heard, reply: Any) -> None:
    heard.pieces += [reply.message.content] if reply.message.content else []
    heard.model = reply.model
    heard.has_usage = heard.has_usage or reply.eval_count is not None


def ollama_client() -> Client:
    """Ollama's chat by ollama."""
    import ollama

    model = "llama3.2"
    asked: Any = {"model": model, "messages": MESSAGES}
    calls = _Calls(
        opened=lambda: ollama.Client(verify=tls()),
        aopened=lambda: ollama.AsyncClient(verify=tls()),
        whole=lambda client: client.chat(**asked),
        stream=lambda client: client.chat(stream=True, **asked),
        take=_take_ollama,
        take_piece=_take_ollama,
    )
    return Client("ollama", "httpx", model, calls.modes())


def _take_converse_event(heard: Heard, event: Any) -> None:
    if "text" in event.get("contentBlockDelta", {}).get("delta", {}):
        heard.pieces.append(event["contentBlockDelta"]["delta"]["text"])
    heard.model = BEDROCK_MODEL
    heard.has_usage = heard.has_usage or "usage" in event.get("metadata", {})


def _take_converse(heard: Heard, reply: Any) -> None:
    heard.pieces += [block["text"] for block in reply["output"]["message"]["content"] if block.get("text")]
    heard.model, heard.has_usage = BEDROCK_MODEL, "usage" in reply


def bedrock_client() -> Client:
    """Bedrock's converse by boto3, which is sync alone, over a socket to the real server."""
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    def opened() -> AbstractContextManager[Any]:
        # In place of a minute: over a socket a time limit takes real time.
        config = Config(read_timeout=0.3 if live_url.get() is None else 60)
        client = boto3.client(
            "bedrock-runtime",
            endpoint_url=server_url.get()("aws"),
            region_name="us-east-1",
            aws_access_key_id="not-a-real-id",
            aws_secret_access_key="not-a-real-secret",
            config=config,
        )
        return closing(client)

    asked: Any = {"modelId": BEDROCK_MODEL, "messages": [{"role": "user", "content": [{"text": PROMPT}]}]}

    def converse_stream(client: Any) -> Iterator[Any]:
        with closing(client.converse_stream(**asked)["stream"]) as events:  # else its connection stays open
            yield from events

    calls = _Calls(
        opened=opened,
        whole=lambda client: client.converse(**asked),
        stream=converse_stream,
        take=_take_converse,
        take_piece=_take_converse_event,
    )
    return Client(
        "boto3",
        "a socket (urllib3)",
        BEDROCK_MODEL,
        calls.modes(),
        but=", but for a read timeout of 0.3 s in place of 60",
    )


MAKERS: tuple[Callable[[], Client], ...] = (
    lambda: openai_client("openai", "httpx2"),
    lambda: openai_client("openai over httpx", "httpx"),
    openai_aiohttp_client,
    responses_client,
    embeddings_client,
    anthropic_client,
    gemini_client,
    gemini_aiohttp_client,
    mistral_client,
    ollama_client,
    bedrock_client,
)
