"""
A program that asks servers through the real SDKs, over real sockets, and says what they made of the answers.

One line of JSON in for each call: its kind, and the server's base URLs; one line out: what an application can see, but
for ids and times. Numbers of tokens are shown as their types, since every server counts in its own way.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from itertools import groupby
from typing import Any

import anthropic
import httpx2
import openai

CHAT, CLAUDE = "gpt-4o-mini", "claude-sonnet-4-5"


def words(prompt: str) -> Any:
    """A conversation of one message."""
    return [{"role": "user", "content": prompt}]


def types_of(value: Any) -> dict[str, str]:
    """The members that every provider reports, by their types; what is None is not reported."""
    return {name: type(count).__name__ for name, count in sorted(value.model_dump().items()) if type(count) is int}


def chat(client: openai.OpenAI, prompt: str) -> dict[str, Any]:
    """A whole answer."""
    reply = client.chat.completions.create(model=CHAT, messages=words(prompt))
    choice = reply.choices[0]
    return {
        "type": type(reply).__name__,
        "object": reply.object,
        "model": reply.model,
        "text": choice.message.content,
        "role": choice.message.role,
        "finish_reason": choice.finish_reason,
        "usage": types_of(reply.usage),
    }


def chat_stream(client: openai.OpenAI, prompt: str) -> dict[str, Any]:
    """A stream, with its usage."""
    options: Any = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(model=CHAT, messages=words(prompt), stream=True, stream_options=options)
    )
    return {
        "types": sorted({type(chunk).__name__ for chunk in chunks}),
        "objects": sorted({chunk.object for chunk in chunks}),
        "models": sorted({chunk.model for chunk in chunks}),
        "ids": len({chunk.id for chunk in chunks}),
        "text": "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
        "roles": [chunk.choices[0].delta.role for chunk in chunks if chunk.choices and chunk.choices[0].delta.role],
        "ends": [
            chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason
        ],
        "choices of the last": len(chunks[-1].choices),
        "usage": types_of(chunks[-1].usage),
    }


def message(client: anthropic.Anthropic, prompt: str) -> dict[str, Any]:
    """A whole answer."""
    reply = client.messages.create(model=CLAUDE, max_tokens=50, messages=words(prompt))
    return {
        "type": type(reply).__name__,
        "model": reply.model,
        "role": reply.role,
        "blocks": [(block.type, getattr(block, "text", None)) for block in reply.content],
        "stop_reason": reply.stop_reason,
        "usage": {
            name: kind for name, kind in types_of(reply.usage).items() if name in ("input_tokens", "output_tokens")
        },
    }


def message_stream(client: anthropic.Anthropic, prompt: str) -> dict[str, Any]:
    """A stream: its events in order, repetitions left out."""
    events: list[Any] = list(client.messages.create(model=CLAUDE, max_tokens=50, messages=words(prompt), stream=True))
    return {
        "events": [(name, type(next(group)).__name__) for name, group in groupby(events, key=lambda event: event.type)],
        "model": events[0].message.model,
        "text": "".join(event.delta.text for event in events if event.type == "content_block_delta"),
        "stop_reason": [event.delta.stop_reason for event in events if event.type == "message_delta"],
    }


CALLS: dict[str, Callable[..., dict[str, Any]]] = {
    "chat": chat,
    "chat_stream": chat_stream,
    "message": message,
    "message_stream": message_stream,
}


def ask(call: str, prompt: str, urls: dict[str, str]) -> dict[str, Any]:
    """What came of a call: the answer as it was parsed, or the error."""
    family = "openai" if call.startswith("chat") else "anthropic"
    kind: Any = openai.OpenAI if family == "openai" else anthropic.Anthropic
    with kind(base_url=urls[family], api_key="not-a-real-key", max_retries=0, timeout=20) as client:
        try:
            return CALLS[call](client, prompt)
        except (openai.APIStatusError, anthropic.APIStatusError) as error:
            return {"error": type(error).__name__, "status": error.status_code, "kind": kind_of(error)}
        except (openai.APIError, anthropic.APIError, httpx2.TransportError) as error:
            return {"error": type(error).__name__}


def kind_of(error: openai.APIStatusError | anthropic.APIStatusError) -> Any:
    """The provider's word for an error, where all servers have it from the provider: Anthropic's type."""
    body: Any = error.body
    return body["error"]["type"] if isinstance(error, anthropic.APIStatusError) else None


def main() -> None:
    """Answer line by line until there are no more."""
    warnings.simplefilter("ignore")  # the models are chosen for what the servers know, not for their age
    for line in sys.stdin:
        order = json.loads(line)
        sys.stdout.write(json.dumps(ask(order["call"], order["prompt"], order["urls"])) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
