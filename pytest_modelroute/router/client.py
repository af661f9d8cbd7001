"""`ModelClient`: sends a request to a model over HTTP, in whichever format its provider speaks."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import httpx

from pytest_modelroute.errors import MalformedExchange, ProviderError, SettingsError
from pytest_modelroute.providers.language import Language, show
from pytest_modelroute.providers.registry import BASE_URLS, language_of_provider
from pytest_modelroute.router.requests import ModelRequest, ModelResponse

if TYPE_CHECKING:
    from pytest_modelroute.config import ModelSettings, Settings

_Outcome: TypeAlias = httpx.Response | httpx.RequestError
_KEYS: Final = {"aws": "AWS_BEARER_TOKEN_BEDROCK", "google": "GEMINI_API_KEY", "x-ai": "XAI_API_KEY"}
_RETRIED: Final = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
_FIRST_BACKOFF_S: Final = 0.5
_LONGEST_WAIT_S: Final = 60.0


class ModelClient:
    """
    Sends requests to the models of the settings, sync and async.

    Clock and sleep are injected, so that a test can let hours pass at once. Those left out are looked up in `time` and
    `asyncio` when they are needed, which virtual time relies on.
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
        clock: Callable[[], float] | None = None,
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
            clock: Seconds, monotonic.
            sleep: Waits for seconds.
            asleep: Waits for seconds in async code.

        """
        self._settings = settings
        self._http = http
        self._async_http = async_http
        self._own_http: httpx.Client | None = None
        self._own_async_http: httpx.AsyncClient | None = None
        self._keys = keys
        self._retries = retries
        self._timeout = timeout
        self._injected = clock, sleep, asleep

    @property
    def settings(self) -> Settings:
        """Where the models are declared."""
        return self._settings

    def send(self, alias: str, request: ModelRequest) -> ModelResponse:
        """
        Send a request to a model.

        Raises:
            ProviderError: The provider answered with an error, or not at all, also after the retries.
            SettingsError: No such alias, or no key.

        """
        steps = self._steps(alias, request)
        outcome: _Outcome | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return cast("ModelResponse", end.value)
            outcome = None
            if isinstance(step, httpx.Request):
                outcome = self._try(step)
            else:
                self._sleep(step)

    async def asend(self, alias: str, request: ModelRequest) -> ModelResponse:
        """Do the same in async code."""
        steps = self._steps(alias, request)
        outcome: _Outcome | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return cast("ModelResponse", end.value)
            outcome = None
            if isinstance(step, httpx.Request):
                outcome = await self._atry(step)
            else:
                await self._asleep(step)

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

    def _clock(self) -> float:
        return (self._injected[0] or time.monotonic)()

    def _sleep(self, seconds: float) -> None:
        (self._injected[1] or time.sleep)(seconds)

    async def _asleep(self, seconds: float) -> None:
        await (self._injected[2] or asyncio.sleep)(seconds)

    def _try(self, request: httpx.Request) -> _Outcome:
        client = self._http or self._own_http
        if client is None:
            client = self._own_http = httpx.Client()
        try:
            return client.send(request)
        except httpx.RequestError as error:
            return error

    async def _atry(self, request: httpx.Request) -> _Outcome:
        client = self._async_http or self._own_async_http
        if client is None:
            client = self._own_async_http = httpx.AsyncClient()
        try:
            return await client.send(request)
        except httpx.RequestError as error:
            return error

    def _steps(
        self, alias: str, request: ModelRequest
    ) -> Generator[httpx.Request | float, _Outcome | None, ModelResponse]:
        """
        The exchange without its I/O, so that sync and async are one piece of logic.

        Yields a request to send or seconds to wait; is sent what came of a request.
        """
        model = self._model(alias)
        language = language_of_provider(model.provider_name)
        wire = language.write_request(request.for_model(model.model), self._key(model.provider_name))
        url = (model.base_url or BASE_URLS.get(model.provider_name, "")).rstrip("/") + wire.path
        outgoing = httpx.Request(
            "POST", url, headers=dict(wire.headers), content=wire.body, extensions={"timeout": _timeouts(self._timeout)}
        )
        start = self._clock()
        for attempt in range(1, self._retries + 2):
            outcome = yield outgoing
            assert outcome is not None  # noqa: S101 - sent after every request
            if isinstance(outcome, httpx.Response) and outcome.is_success:
                return _read(outcome, language, model.model, self._clock() - start, attempt)
            error = _describe(outcome, language, model.model)
            if attempt > self._retries or not _worth_another_try(error):
                raise error
            yield _wait(error, attempt)
        raise AssertionError("the last attempt returns or raises")  # pragma: no cover - for the type checker

    def _model(self, alias: str) -> ModelSettings:
        model = self._settings.model(alias)
        if model.base_url is None and model.provider_name not in BASE_URLS:
            raise SettingsError(
                f"models.{alias}: the address of provider {model.provider_name!r} is not known; give it a base_url"
            )
        return model

    def _key(self, provider: str) -> str:
        variable = _KEYS.get(provider) or f"{provider.upper().replace('-', '_')}_API_KEY"
        key = os.environ.get(variable) if self._keys is None else self._keys.get(provider)
        if not key:
            where = f"set {variable}" if self._keys is None else f"keys has none for {provider!r}"
            raise SettingsError(f"there is no key for provider {provider!r}: {where}")
        return key


def _timeouts(seconds: float) -> dict[str, float]:
    return dict.fromkeys(("connect", "read", "write", "pool"), seconds)


def _read(response: httpx.Response, language: Language, model: str, elapsed_s: float, attempts: int) -> ModelResponse:
    try:
        reply = language.read_reply(response.content)
    except MalformedExchange as error:
        raise ProviderError(
            f"{model} answered, but {error}",
            model=model,
            status=response.status_code,
            code="malformed",
            retry_after=None,
        ) from None
    return ModelResponse(
        text=reply.text,
        model=model,
        model_answered=reply.model or model,
        usage=reply.usage,
        finish_reason=reply.finish_reason,
        tool_calls=reply.tool_calls,
        elapsed_s=elapsed_s,
        attempts=attempts,
    )


def _describe(outcome: _Outcome, language: Language, model: str) -> ProviderError:
    if isinstance(outcome, httpx.RequestError):
        kind = "timeout" if isinstance(outcome, httpx.TimeoutException) else "connection"
        kind = "malformed" if isinstance(outcome, httpx.DecodingError) else kind
        return ProviderError(
            f"{model} gave no answer ({type(outcome).__name__}: {outcome})",
            model=model,
            status=None,
            code=kind,
            retry_after=None,
        )
    try:
        code, message = language.read_error(outcome.content)
    except MalformedExchange:
        code, message = None, show(outcome.content)
    return ProviderError(
        f"{model} answered {outcome.status_code} ({code or 'no code'}): {message or show(outcome.content)}",
        model=model,
        status=outcome.status_code,
        code=code,
        retry_after=_seconds(outcome.headers.get("retry-after")),
    )


def _seconds(header: str | None) -> float | None:
    try:
        return None if header is None else max(0.0, float(header))
    except ValueError:
        return None


def _worth_another_try(error: ProviderError) -> bool:
    """Not where the provider asks for more patience than we have, or where a quota is used up."""
    if error.code == "insufficient_quota" or (error.retry_after or 0.0) > _LONGEST_WAIT_S:
        return False
    return error.status is None or error.status in _RETRIED


def _wait(error: ProviderError, attempt: int) -> float:
    """Seconds that the provider asked for, else exponential back-off with jitter."""
    if error.retry_after is not None:
        return error.retry_after
    return _FIRST_BACKOFF_S * 2.0 ** (attempt - 1) * random.uniform(0.75, 1.0)  # noqa: S311 - spread, not secrecy
