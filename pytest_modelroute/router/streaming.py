"""Playing a routine: what it wants is done, sync or async, and the pieces of its text are handed on."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, Self

import httpx

from pytest_modelroute.errors import ModelRouteError
from pytest_modelroute.router.calls import Clocks
from pytest_modelroute.router.gates import arule, rule
from pytest_modelroute.router.requests import ModelResponse
from pytest_modelroute.router.routine import Classify, Race, Read, Routine, Send, Verify, Wish

_NOT_YET: Final = (
    "this stream has no response: it was not read to its end. Iterate over it first; a stream that was closed early, "
    "or that raised, never has one"
)


class _Stream:
    """What sync and async streams share."""

    def __init__(self, routine: Routine[ModelResponse], http: Callable[[], Any], clocks: Clocks) -> None:
        """Do nothing before the first piece is asked for."""
        self._routine = routine
        self._http = http
        self._clocks = clocks
        self._response: ModelResponse | None = None
        self._open: httpx.Response | None = None
        self._body: Any = None

    @property
    def response(self) -> ModelResponse:
        """The whole answer, after the end; a ModelRouteError before it."""
        if self._response is None:
            raise ModelRouteError(_NOT_YET)
        return self._response


class StreamedResponse(_Stream, Iterator[str]):
    """
    An answer that comes in pieces of text: iterate over them; afterwards `response` is the whole answer.

    A stream that breaks off raises ProviderError and never ends as if it were whole. Close one that is not read to its
    end, or use it in a `with` block: the connection is given back, and what came is paid for.
    """

    def __next__(self) -> str:
        """The next piece of text."""
        came: object = None
        try:
            while True:
                wish = self._routine.send(came)
                if isinstance(wish, str):
                    return wish
                came = self._do(wish)
        except StopIteration as end:
            self._response = end.value or self._response
            self.close()
            raise
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give up what is left."""
        self._routine.close()
        if self._open is not None:
            self._open.close()
            self._open = None

    def __enter__(self) -> Self:
        """Close it at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _do(self, wish: Wish) -> object:
        try:
            if isinstance(wish, Send):
                return self._send(wish)
            if isinstance(wish, Read):
                return next(self._body, None)
        except httpx.RequestError as error:
            return error
        if isinstance(wish, Classify | Verify):
            return self._say(wish)
        if isinstance(wish, Race):
            return False
        self._clocks.wait(float(wish))
        return None

    def _say(self, wish: Classify | Verify) -> object:
        """What a classifier or a gate says, either of which may ask a model."""
        if isinstance(wish, Classify):
            return wish.classifier.classify(wish.prompt, context=wish.context)
        return rule(wish)

    def _send(self, wish: Send) -> httpx.Response:
        if self._open is not None:
            self._open.close()
        response: httpx.Response = self._http().send(wish.request, stream=wish.in_pieces)
        if wish.in_pieces:
            self._open, self._body = response, response.iter_bytes()
            if not response.is_success:
                response.read()
        return response


class AsyncStreamedResponse(_Stream, AsyncIterator[str]):
    """The same in async code: `async for piece in stream`, `aclose`, `async with`."""

    async def __anext__(self) -> str:
        """The next piece of text."""
        came: object = None
        try:
            while True:
                wish = self._routine.send(came)
                if isinstance(wish, str):
                    return wish
                came = await self._do(wish)
        except StopIteration as end:
            self._response = end.value or self._response
            await self.aclose()
            raise StopAsyncIteration from None
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Give up what is left."""
        self._routine.close()
        if self._open is not None:
            await self._open.aclose()
            self._open = None

    def beside(self, routine: Routine[ModelResponse]) -> AsyncStreamedResponse:
        """Another routine, played with the same connections and clocks."""
        return AsyncStreamedResponse(routine, self._http, self._clocks)

    def take_over(self, other: AsyncStreamedResponse) -> None:
        """Read on in the body that another one reads, whose routine becomes a part of this one's."""
        self._open, self._body, other._open = other._open, other._body, None

    async def __aenter__(self) -> Self:
        """Close it at the end of the block."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.aclose()

    async def _do(self, wish: Wish) -> object:
        try:
            if isinstance(wish, Send):
                return await self._send(wish)
            if isinstance(wish, Read):
                return await self._read(wish)
        except httpx.RequestError as error:
            return error
        if isinstance(wish, Classify | Verify):
            return await self._say(wish)
        if isinstance(wish, Race):
            await wish.run(self)
            return True
        await self._clocks.await_(float(wish))
        return None

    async def _say(self, wish: Classify | Verify) -> object:
        if isinstance(wish, Classify):
            return await wish.classifier.aclassify(wish.prompt, context=wish.context)
        return await arule(wish, self._clocks)

    async def _read(self, wish: Read) -> bytes | None:
        if wish.within == math.inf:
            return await anext(self._body, None)
        try:
            async with asyncio.timeout(wish.within):
                return await anext(self._body, None)
        except TimeoutError as error:
            raise httpx.ReadTimeout("the deadline is over") from error

    async def _send(self, wish: Send) -> httpx.Response:
        if self._open is not None:
            await self._open.aclose()
        response: httpx.Response = await self._http().send(wish.request, stream=wish.in_pieces)
        if wish.in_pieces:
            self._open, self._body = response, response.aiter_bytes()
            if not response.is_success:
                await response.aread()
        return response
