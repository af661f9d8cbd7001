"""API keys: where clients look for them, what stands in for one that a replay does not need, and who has none."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from pytest_modelroute.errors import RecordingError
from pytest_modelroute.providers.registry import provider_at, provider_behind
from pytest_modelroute.wire.addresses import KEY_HEADERS, KEY_VARIABLES, fake_key
from pytest_modelroute.wire.recorded import Sent

_ALSO: Final = {"GEMINI_API_KEY": "GOOGLE_API_KEY"}
"Another name for the same key, which the client reads too."
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_STAND_IN: Final = "not-a-real-key"


def key_from_environment(name: str) -> str:
    """
    The key of a provider.

    Raises:
        RecordingError: It is not set; names the variable.

    """
    variables = KEY_VARIABLES.get(provider_behind(name) or "", ())
    if not variables:
        raise RecordingError(f"key({name!r}): the variable of its key is not known; read it in the test")
    variable = variables[0]
    value = os.environ.get(variable) or os.environ.get(_ALSO.get(variable, ""), "")
    if not value or _STAND_IN in value:
        raise RecordingError(f"{variable} is not set: recording calls {name} with your key")
    return value


def key_for_host(name: str, base_url: str | None) -> str:
    """
    The key for calls that we make ourselves; a stand-in for a host on this machine, which is sent no real one.

    Args:
        name: The provider.
        base_url: Where it is served, if not at its own address.

    Raises:
        RecordingError: It is not set, and the host is a provider's; names the variable.

    """
    host = None if base_url is None else urlsplit(base_url if "//" in base_url else f"//{base_url}").hostname or ""
    known = provider_behind(name) or ""
    # Calls of AWS are signed, and Azure has a host for each customer: only the application's own client gets there.
    if host in _LOOPBACK or known not in KEY_VARIABLES or (host is None and known in ("aws", "azure")):
        return fake_key(name)
    try:
        return key_from_environment(name)
    except RecordingError:
        if host is not None and provider_at(host) is None:  # a server of the user's own need not have keys
            return fake_key(name)
        raise


@contextmanager
def stand_ins() -> Generator[None]:
    """Let clients be made without keys: a replay needs none, and a client without one refuses to be made."""
    missing = {
        variable: fake_key(provider)
        for provider, variables in KEY_VARIABLES.items()
        for variable in variables
        if not os.environ.get(variable) and not os.environ.get(_ALSO.get(variable, ""))
    }
    before = {variable: os.environ.get(variable) for variable in missing}
    os.environ.update(missing)
    try:
        yield
    finally:
        for variable, value in before.items():
            if os.environ.get(variable) == missing[variable]:
                if value is None:
                    del os.environ[variable]
                else:
                    os.environ[variable] = value


def check_credentials(sent: Sent, provider: str) -> None:
    """
    Stop a live call of a known provider that carries no key, before the provider refuses it.

    Raises:
        RecordingError: It carries none, or one that is none; names the variable.

    """
    if provider_at(sent.host) is None:  # a server of the user's own need not have keys
        return
    given = [value for name, value in sent.headers if name.lower() in KEY_HEADERS]
    given += [value for name, value in parse_qsl(urlsplit(sent.url).query) if name == "key"]
    if any(value and _STAND_IN not in value for value in given):
        return
    variables = " and ".join(KEY_VARIABLES.get(provider_behind(provider) or "", ()))
    known = f": set {variables}" if variables else ""
    raise RecordingError(f"a call of {sent.host} carries no key, so that it cannot be recorded{known}")
