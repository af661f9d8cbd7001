"""HTTP libraries without an SDK, asked as those of the fault matrix are."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, closing, nullcontext
from importlib import import_module
from typing import Any

import aiohttp
import requests
import urllib3

from tests.matrix.clients import MODEL, PROMPT, Client, Heard, _Calls, live_url, tls

BODY: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]}
STREAM: dict[str, Any] = {**BODY, "stream": True, "stream_options": {"include_usage": True}}
Opened = Callable[[], AbstractContextManager[Any]]
AsyncOpened = Callable[[], AbstractAsyncContextManager[Any]]


def url() -> str:
    """Where chat completions are."""
    return f"{live_url.get()}/v1/chat/completions"


def _nothing(heard: Heard, reply: Any) -> None:
    """All that is compared is kept already."""


def httpx_like(library: str) -> Client:
    """Httpx and httpx2."""
    http = import_module(library)

    def stream(client: Any) -> Iterator[bytes]:
        with client.stream("POST", url(), json=STREAM) as reply:
            yield from reply.iter_bytes()

    async def astream(client: Any) -> AsyncIterator[bytes]:
        async def pieces() -> AsyncIterator[bytes]:
            async with client.stream("POST", url(), json=STREAM) as reply:
                async for piece in reply.aiter_bytes():
                    yield piece

        return pieces()

    async def awhole(client: Any) -> Any:
        reply = await client.post(url(), json=BODY)
        return reply.status_code, reply.json()

    def whole(client: Any) -> Any:
        reply = client.post(url(), json=BODY)
        return reply.status_code, reply.json()

    return Client(
        library,
        library,
        MODEL,
        _Calls(
            opened=lambda: http.Client(verify=tls()),
            aopened=lambda: http.AsyncClient(verify=tls()),
            whole=whole,
            awhole=awhole,
            stream=stream,
            astream=astream,
            take=_nothing,
        ).modes(),
    )


def by_aiohttp() -> Client:
    """Aiohttp."""

    async def awhole(session: Any) -> Any:
        async with session.post(url(), json=BODY) as reply:
            return reply.status, await reply.json()

    async def astream(session: Any) -> AsyncIterator[bytes]:
        async def pieces() -> AsyncIterator[bytes]:
            async with session.post(url(), json=STREAM) as reply:
                async for piece in reply.content.iter_any():
                    yield piece

        return pieces()

    return Client(
        "aiohttp",
        "aiohttp",
        MODEL,
        _Calls(aopened=aiohttp.ClientSession, whole=awhole, stream=astream, take=_nothing).modes(),
    )


def by_requests() -> Client:
    """Requests."""

    def whole(session: Any) -> Any:
        reply = session.post(url(), json=BODY, timeout=9)
        return reply.status_code, reply.json()

    def stream(session: Any) -> Iterator[bytes]:
        with session.post(url(), json=STREAM, timeout=9, stream=True) as reply:
            yield from reply.iter_content(None)

    return Client(
        "requests", "urllib3", MODEL, _Calls(opened=requests.Session, whole=whole, stream=stream, take=_nothing).modes()
    )


def by_urllib3() -> Client:
    """urllib3."""
    headers = {"accept-encoding": "gzip, br"}

    def whole(pool: Any) -> Any:
        reply = pool.request("POST", url(), json=BODY, headers=headers)
        return reply.status, reply.json()

    def stream(pool: Any) -> Iterator[bytes]:
        with closing(pool.request("POST", url(), json=STREAM, headers=headers, preload_content=False)) as reply:
            while piece := reply.read1(decode_content=True):
                yield piece

    return Client(
        "urllib3",
        "urllib3",
        MODEL,
        _Calls(opened=urllib3.PoolManager, whole=whole, stream=stream, take=_nothing).modes(),
    )


def by_urllib() -> Client:
    """urllib.request, which decodes nothing."""

    def opened(body: dict[str, Any]) -> Any:
        headers = {"content-type": "application/json"}
        asked = urllib.request.Request(url(), json.dumps(body).encode(), headers)  # noqa: S310 - http
        return urllib.request.urlopen(asked, timeout=9)  # noqa: S310 - as above

    def whole(_client: Any) -> Any:
        with opened(BODY) as reply:
            return reply.status, json.loads(reply.read())

    def stream(_client: Any) -> Iterator[bytes]:
        with opened(STREAM) as reply:
            while piece := reply.read1():
                yield piece

    return Client(
        "urllib.request",
        "http.client",
        MODEL,
        _Calls(opened=nullcontext, whole=whole, stream=stream, take=_nothing).modes(),
    )


MAKERS: tuple[Callable[[], Client], ...] = (
    lambda: httpx_like("httpx"),
    lambda: httpx_like("httpx2"),
    by_aiohttp,
    by_requests,
    by_urllib3,
    by_urllib,
)
