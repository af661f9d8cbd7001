"""Routers on clients that end in http.client are answered in process, so that their time is virtual."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import requests

from pytest_modelroute import faults
from pytest_modelroute.invariants import Act, Ask, Fails, RoutingInvariants, RoutingRequest, Scene, Script
from pytest_modelroute.invariants.checking import check_law

TIMEOUT_S = 20


def by_requests(url: str, body: dict[str, Any]) -> Any:
    """One call of requests."""
    reply = requests.post(url, json=body, timeout=TIMEOUT_S)
    reply.raise_for_status()
    return reply.json()


def by_urllib(url: str, body: dict[str, Any]) -> Any:
    """One call of urllib."""
    asked = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as reply:  # noqa: S310 - to the address of the harness
        return json.load(reply)


def router_on(send: Callable[[str, dict[str, Any]], Any]) -> type[RoutingInvariants]:
    """A router with a fallback, on a client."""

    class OnSockets(RoutingInvariants):
        tiers = ("gpt-5",)
        fallbacks: ClassVar[Any] = {"gpt-5": ("gpt-4.1",)}
        recoverable = ("timeout", "connection")

        def make_router(self, providers: Any) -> Any:
            """The address is all that it needs."""
            return providers.url("openai") + "/chat/completions"

        def ask(self, router: Any, request: Any) -> Any:
            """The first model that answers."""
            failures: list[Exception] = []
            for model in ("gpt-5", "gpt-4.1"):
                try:
                    return send(router, {"model": model, "messages": [{"role": "user", "content": request.prompt}]})
                except OSError as error:  # of both clients
                    if " 40" in str(error) and "408" not in str(error):
                        raise
                    failures.append(error)
            raise ExceptionGroup("every model failed", failures)

    return OnSockets


@pytest.mark.parametrize("send", [by_requests, by_urllib])
def test_a_router_on_sockets_of_its_own_keeps_its_laws(send: Callable[..., Any]) -> None:
    """A lost connection and a silent provider reach its fallback."""
    assert check_law(router_on(send), "fallback_on_class", profile="quick").status == "held"


@pytest.mark.parametrize("send", [by_requests, by_urllib])
def test_its_time_outs_pass_at_once(send: Callable[..., Any]) -> None:
    """A provider that never answers is waited for in virtual time."""
    start = time.monotonic()
    silent = Script(candidates=((Fails(faults.read_timeout()),),))
    asks = (Ask(request=RoutingRequest(prompt="hi")),)
    router_on(send).check("fallback_on_class", Scene(acts=(Act(asks=asks, script=silent),), name="timeout"))
    assert time.monotonic() - start < TIMEOUT_S
