"""What the router under test is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Final


@dataclass(frozen=True, kw_only=True)
class RoutingRequest:
    """
    One request, as `ask` gets it.

    What a router does to the messages that it is handed is seen by the law `no_aliasing`.
    """

    prompt: str = ""
    "The text of the last user message, whatever its form."
    system: str | None = None
    history: tuple[tuple[str, str], ...] = ()
    "(role, text) of earlier messages."
    as_parts: bool = False
    "Whether the content of the last message is a list of one text part."
    has_messages: bool = True
    "False for a request without any message."
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    "temperature, max_tokens, tools ... as OpenAI spells them."
    category: str | None = None
    "The category or tier that the caller names; None for none."
    critical: bool = False
    step: str | None = None
    stream: bool = False
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    "The switches that the class lists in `options`, and no others."
    images: int = 0
    "How many images the last message carries, as OpenAI's image parts."

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages in OpenAI's form, made once for each request, so that what a router does to them stays."""
        made: list[dict[str, Any]] | None = self.__dict__.get("_messages")
        if made is None:
            made = self._make()
            self.__dict__["_messages"] = made
        return made

    def fresh_messages(self) -> list[dict[str, Any]]:
        """The messages as they were before anybody touched them."""
        return self._make()

    def _make(self) -> list[dict[str, Any]]:
        if not self.has_messages:
            return []
        earlier = [] if self.system is None else [{"role": "system", "content": self.system}]
        earlier += [{"role": role, "content": text} for role, text in self.history]
        content: str | list[dict[str, Any]] = self.prompt
        if self.as_parts or self.images:
            content = [{"type": "text", "text": self.prompt}]
            content += [{"type": "image_url", "image_url": {"url": _PIXEL}} for _ in range(self.images)]
        return [*earlier, {"role": "user", "content": content}]

    def __repr__(self) -> str:
        """As it can be pasted: only what differs from the defaults."""
        said = {"prompt": self.prompt, **unlike_default(self)}
        return f"RoutingRequest({', '.join(f'{name}={_shown(value)}' for name, value in said.items())})"


def unlike_default(value: Any) -> dict[str, Any]:
    """The fields of a dataclass, by name, that are not what they are where they are left out."""
    found: dict[str, Any] = {}
    for part in fields(value):
        default = part.default if part.default_factory is MISSING else part.default_factory()
        if getattr(value, part.name) != default:
            found[part.name] = getattr(value, part.name)
    return found


_PIXEL: Final = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYPgPAAEDAQAIicLsAAAAAElFTkSuQmCC"
)
_SHORT: Final = 400


def _shown(value: object) -> str:
    """A literal; a long repetitive text as the sum that it is made by, so that an example fits on a screen."""
    if isinstance(value, str) and len(value) > _SHORT:
        for size in range(1, 200):
            start, end = _run(value, size)
            if end - start > len(value) - _SHORT:
                unit, length = value[start : start + size], end - start
                parts = [f"({unit!r} * {-(-length // size)})[:{length}]"]
                parts = [repr(value[:start]), *parts] if start else parts
                return " + ".join([*parts, repr(value[end:])] if value[end:] else parts)
    if isinstance(value, Mapping):
        return repr(dict(value))  # pyright: ignore[reportUnknownArgumentType]
    return repr(value)


def _run(text: str, size: int) -> tuple[int, int]:
    """Where the part around the middle of a text begins and ends that repeats so many characters."""
    start = len(text) // 2
    end = start + size
    while start > 0 and text[start - 1] == text[start - 1 + size]:
        start -= 1
    while end < len(text) and text[end] == text[end - size]:
        end += 1
    return start, end
