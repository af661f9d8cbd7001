"""`ModelClient`: sends a request to a model over HTTP, in whichever format its provider speaks."""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

import httpx

from pytest_modelroute.errors import SettingsError
from pytest_modelroute.providers.registry import BASE_URLS, language_of_provider
from pytest_modelroute.router.attempts import Patience, Target, ask
from pytest_modelroute.router.calls import Clocks, RequestContext
from pytest_modelroute.router.requests import ModelRequest, ModelResponse, check_seconds
from pytest_modelroute.router.routine import Routine
from pytest_modelroute.router.streaming import AsyncStreamedResponse, StreamedResponse

if TYPE_CHECKING:
    from pytest_modelroute.config import Settings

_KEYS: Final = {"aws": "AWS_BEARER_TOKEN_BEDROCK", "google": "GEMINI_API_KEY", "x-ai": "XAI_API_KEY"}
_KEYLESS: Final = ("ollama",)
"Served on this machine, and there without a key."


class ModelClient:
    """
    Sends requests to the models of the settings: sync, async and streamed.

    Clocks and sleeps are injected, so that a test can let hours pass at once. Those left out are looked up in `time`
    and `asyncio` when they are needed, which virtual time relies on.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        http: httpx.Client | None = None,
        async_http: httpx.AsyncClient | None = None,
        keys: Mapping[str, str] | None = None,
        retries: int = 2,
        timeout: float = 60.0,
        deadline: float | None = None,
        clock: Callable[[], float] | None = None,
        wall_clock: Callable[[], float] | None = None,
        sleep: Callable[[float], None] | None = None,
        asleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        """
        Open no connection and read no key yet.

        Args:
            settings: Where the models are declared.
            http: The client for sync requests; one of its own where left out.
            async_http: The client for async requests.
            keys: Provider -> key; the environment's <PROVIDER>_API_KEY where left out.
            retries: How often a request that may succeed the next time is sent again.
            timeout: Seconds until a connection or a read is given up.
            deadline: Seconds that a request may take in all, retries and waits included; a request's own goes before.
            clock: Seconds, monotonic.
            wall_clock: Seconds since the epoch, for a Retry-After that is a date.
            sleep: Waits for seconds.
            asleep: Waits for seconds in async code.

        """
        check_seconds("deadline", deadline)
        check_seconds("ModelClient.timeout", timeout)
        if type(retries) is not int or retries < 0:
            raise ValueError(f"ModelClient.retries is a number of attempts, 0 or more, not {retries!r}")
        self.settings = settings
        self._http = http
        self._async_http = async_http
        self._own_http: httpx.Client | None = None
        self._own_async_http: httpx.AsyncClient | None = None
        self._keys = keys
        self._deadline = deadline
        self.clocks = Clocks(clock=clock, wall_clock=wall_clock, sleep=sleep, asleep=asleep)
        self._patience = Patience(retries=retries, timeout=timeout, clocks=self.clocks, prices=settings.prices())

    def send(self, alias: str, request: ModelRequest, *, context: RequestContext | None = None) -> ModelResponse:
        """
        Send a request to a model.

        Args:
            alias: The model, as the settings name it.
            request: What it is asked; its step is not looked at.
            context: That of the request on whose behalf this one is sent: its deadline holds, and its bill grows.

        Raises:
            ProviderError: The provider answered with an error, or not at all, also after the retries.
            SettingsError: No such alias, or no key.

        """
        return self.run(self.routine(alias, request, context=context))

    async def asend(self, alias: str, request: ModelRequest, *, context: RequestContext | None = None) -> ModelResponse:
        """Do the same in async code."""
        return await self.arun(self.routine(alias, request, context=context))

    def stream(self, alias: str, request: ModelRequest) -> StreamedResponse:
        """Send a request whose answer is read while it comes; the errors of `send` come while it is read."""
        return self.play(self.routine(alias, request, stream=True))

    def astream(self, alias: str, request: ModelRequest) -> AsyncStreamedResponse:
        """Do the same in async code: `async for piece in client.astream(...)`."""
        return self.aplay(self.routine(alias, request, stream=True))

    def context(self, request: ModelRequest) -> RequestContext:
        """The clock of a request's deadline starts now."""
        deadline = self._deadline if request.deadline is None else request.deadline
        until = math.inf if deadline is None else self.clocks.now() + deadline
        return RequestContext(deadline=deadline, until=until)

    def routine(
        self,
        alias: str,
        request: ModelRequest,
        *,
        context: RequestContext | None = None,
        stream: bool = False,
        fallback_of: str | None = None,
    ) -> Routine[ModelResponse]:
        """The request as a routine, to be played by itself or as a part of another one."""
        context = self.context(request) if context is None else context
        target = self._target(alias)
        return (yield from ask(target, request, context, self._patience, stream=stream, fallback_of=fallback_of))

    def play(self, routine: Routine[ModelResponse]) -> StreamedResponse:
        """Play a routine with this client's connections and clocks, piece by piece."""
        return StreamedResponse(routine, self._sync_http, self.clocks)

    def aplay(self, routine: Routine[ModelResponse]) -> AsyncStreamedResponse:
        """Do the same in async code."""
        return AsyncStreamedResponse(routine, self._asynchronous_http, self.clocks)

    def run(self, routine: Routine[ModelResponse]) -> ModelResponse:
        """Play a routine to its end."""
        stream = self.play(routine)
        for _ in stream:
            pass
        return stream.response

    async def arun(self, routine: Routine[ModelResponse]) -> ModelResponse:
        """Do the same in async code."""
        stream = self.aplay(routine)
        async for _ in stream:
            pass
        return stream.response

    def close(self) -> None:
        """Close the sync client that was made here; one that was given stays open."""
        if self._own_http is not None:
            self._own_http.close()
            self._own_http = None

    async def aclose(self) -> None:
        """Close the async client that was made here; one that was given stays open."""
        if self._own_async_http is not None:
            await self._own_async_http.aclose()
            self._own_async_http = None

    def _sync_http(self) -> httpx.Client:
        client = self._http or self._own_http
        if client is None:
            client = self._own_http = httpx.Client()
        return client

    def _asynchronous_http(self) -> httpx.AsyncClient:
        client = self._async_http or self._own_async_http
        if client is None:
            client = self._own_async_http = httpx.AsyncClient()
        return client

    def _target(self, alias: str) -> Target:
        model = self.settings.model(alias)
        provider = model.provider_name
        if model.base_url is None and provider not in BASE_URLS:
            raise SettingsError(
                f"models.{alias}: the address of provider {provider!r} is not known; give it a base_url"
            )
        return Target(
            model=model.model,
            tier=model.tier,
            provider=provider,
            language=language_of_provider(provider),
            base_url=(model.base_url or BASE_URLS[provider]).rstrip("/"),
            key=self._key(provider),
        )

    def _key(self, provider: str) -> str:
        variable = _KEYS.get(provider) or f"{provider.upper().replace('-', '_')}_API_KEY"
        key = os.environ.get(variable) if self._keys is None else self._keys.get(provider)
        if not key and provider in _KEYLESS:
            return "none"
        if not key:
            where = f"set {variable}" if self._keys is None else f"keys has none for {provider!r}"
            raise SettingsError(f"there is no key for provider {provider!r}: {where}")
        return key
