"""Calls of tools and their results in a conversation, for the formats that keep them as parts of messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, TypeAlias

from pytest_modelroute.providers.exchange import Message, ToolCall

Part: TypeAlias = Mapping[str, Any]


def in_parts(
    messages: Iterable[Message],
    *,
    text: Callable[[str], Part],
    call: Callable[[ToolCall], Part],
    result: Callable[[ToolCall, str], Part],
) -> Iterator[Message]:
    """
    The messages with what they say of tools as parts, which each format builds in its own way.

    Results in a row are one message of the user: formats with parts want all results of a turn together.
    """
    for _, group in groupby(messages, key=lambda message: message.result_of is not None):
        run = list(group)
        if run[0].result_of is not None:
            parts = (result(message.result_of, message.text) for message in run if message.result_of is not None)
            yield Message(role="user", text="", parts=tuple(parts))
            continue
        for message in run:
            if not message.tool_calls:
                yield message
                continue
            said = message.parts or ((text(message.text),) if message.text else ())
            yield Message(role=message.role, text=message.text, parts=(*said, *map(call, message.tool_calls)))
