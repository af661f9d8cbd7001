"""The text in whatever a router gives back: a string, a response object of a client library, a chunk of a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

_TEXTS: Final = ("text", "output_text", "content", "output", "response", "answer", "data", "delta", "parts")
_SAID: Final = ("message", "delta", "text", "content")
"Where a choice or candidate has what it says."
_DEPTH: Final = 6


def text_of(answer: object, *, depth: int = 0) -> str:
    """
    The text of an answer, as far as it can be told; "" for one that shows none.

    Knows the shapes of the usual clients (choices of OpenAI, content blocks of Anthropic, candidates of Gemini, the
    results of agents), as objects and as mappings.
    """
    if isinstance(answer, str):
        return answer
    if answer is None or depth > _DEPTH or isinstance(answer, bytes | int | float | bool):
        return ""
    if isinstance(answer, Sequence):
        parts = cast("Sequence[object]", answer)
        return "".join(text_of(part, depth=depth + 1) for part in parts)
    choices = _get(answer, "choices")
    choices = choices or _get(answer, "candidates")
    if isinstance(choices, Sequence) and choices:
        first: object = cast("Sequence[object]", choices)[0]
        said = next((part for name in _SAID if (part := _get(first, name))), None)
        return text_of(said, depth=depth + 1)
    for name in _TEXTS:
        value = _get(answer, name)
        if value is not None and not callable(value):
            found = text_of(value, depth=depth + 1)
            if found:
                return found
    return ""


def _get(holder: object, name: str) -> Any:
    if isinstance(holder, Mapping):
        return cast("Mapping[str, Any]", holder).get(name)
    try:
        return getattr(holder, name, None)
    except Exception:  # noqa: BLE001 - a property of the user's own may raise anything
        return None
