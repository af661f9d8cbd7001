"""Sampling parameters that a format keeps in an object of its own, under names of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pytest_modelroute.providers.language import mapping

_NAMES: Final[Mapping[str, str]] = {"temperature": "temperature", "top_p": "topP", "stop": "stopSequences"}


class NestedParameters:
    """
    The parameters in one member of a body, such as `generationConfig`.

    In a request they have the names that other formats use: max_tokens, temperature, top_p, stop. What has no such name
    stays under the name of the member, as it was sent.
    """

    def __init__(self, member: str, *, max_tokens: str) -> None:
        """`member` holds them; `max_tokens` is what it calls the limit of the output."""
        self._member = member
        self._names = {"max_tokens": max_tokens, **_NAMES}

    def read(self, value: object) -> dict[str, Any]:
        """The parameters of a request, from the member as it came."""
        rest = dict(mapping(value))
        params: dict[str, Any] = {}
        for name, own in self._names.items():
            for spelling in (snake_case(own), own):
                if spelling in rest:
                    params[name] = rest.pop(spelling)
        return {**params, **({self._member: rest} if rest else {})}

    def write(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The members of a body, from the parameters of a request; those without a place here stay at the top."""
        top = dict(params)
        config = dict(mapping(top.pop(self._member, None)))
        if "max_completion_tokens" in top:
            top["max_tokens"] = top.pop("max_completion_tokens")
        for name, own in self._names.items():
            if name in top:
                config[own] = _listed(top.pop(name)) if name == "stop" else top.pop(name)
        return {**top, **({self._member: config} if config else {})}


def snake_case(name: str) -> str:
    """A camelCase name as Python code spells it."""
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def _listed(stop: object) -> object:
    """OpenAI takes one word as it is; these formats want a list."""
    return [stop] if isinstance(stop, str) else stop
