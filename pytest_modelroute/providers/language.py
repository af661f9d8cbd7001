"""What every language module offers, and the helpers they share."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

from pytest_modelroute.errors import MalformedExchange
from pytest_modelroute.providers.exchange import Message, ProviderReply, ProviderRequest, WireRequest
from pytest_modelroute.providers.failures import Failure, Vocabulary, WireError
from pytest_modelroute.providers.sse import Event, EventDecoder, to_json


class StreamReader(Protocol):
    """Joins what a stream brings, piece by piece."""

    def feed(self, data: bytes) -> str:
        """
        Take more bytes, cut anywhere.

        Returns:
            The text that they add to the answer.

        Raises:
            StreamFailed: The provider's error came in the stream.
            MalformedExchange: A piece of it is not in the format.

        """
        ...

    def reply(self) -> ProviderReply:
        """The whole answer, usage included, after the last bytes; MalformedExchange where the stream was cut off."""
        ...


class EventStreamReader(ABC):
    """A reader of server-sent events; a format says what an event adds."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.text: str = ""
        self._decoder = EventDecoder()

    def feed(self, data: bytes) -> str:
        """Take more bytes."""
        return self._take_all(self._decoder.feed(data))

    def reply(self) -> ProviderReply:
        """The whole answer."""
        self._take_all(self._decoder.flush())
        return self.finish()

    def _take_all(self, events: Iterable[Event]) -> str:
        before = len(self.text)
        for event in events:
            self.take(event)
        return self.text[before:]

    @abstractmethod
    def take(self, event: Event) -> None:
        """Add an event; its text goes to `self.text`."""

    @abstractmethod
    def finish(self) -> ProviderReply:
        """The whole answer, or MalformedExchange where the stream was cut off."""


def is_json(text: str, *, begins: str = '{["') -> bool:
    """Whether a text is a JSON document that begins with one of these: an object, a list or a string, if left out."""
    first = text.lstrip(" \t\r\n")[:1]
    if not first or first not in begins:
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def read_stream(language: Language, body: bytes) -> ProviderReply:
    """
    Read a stream that has ended.

    Raises:
        StreamFailed: It ended in the provider's error.
        MalformedExchange: It is not in the format, or was cut off.

    """
    reader = language.stream_reader()
    reader.feed(body)
    return reader.reply()


def read_wire_error(language: Language, body: bytes, headers: Mapping[str, str]) -> tuple[str | None, str]:
    """
    The provider's word for an error and its message, from wherever it says them.

    Raises:
        MalformedExchange: The body is no error in the format.

    """
    word, message = language.read_error(body)
    named = language.vocabulary.word_header
    # AWS adds where the word is defined: ValidationException:http://internal.amazon.com/...
    said = headers.get(named, "").partition(":")[0] if named else ""
    return said or word, message


class Language(Protocol):
    """
    One wire format: reading and writing its requests, replies, streams and errors.

    What is written can be read back: `read_request(w.body, w.path)` of `w = write_request(r, key)` is r,
    `read_reply(write_reply(r, a))` is a, and so is `read_stream(self, b"".join(write_stream(r, a, pieces)))`; but for
    what a format cannot say (Anthropic requires max_tokens, and keeps system prompts apart from the other messages),
    and for calls of tools and their results among the messages, which are read as each format has them.
    """

    name: str
    "The name of the format in logs and messages, such as openai-chat."
    provider: str
    "Whose format it is; the provider of a call to a host that is not known."
    stream_type: str
    "The content type of a stream."
    vocabulary: Vocabulary
    "How it says what went wrong."
    filters_content: bool
    "Whether it has a form for an answer that a content filter held back; without, a filter refuses, or is none."
    streams: bool
    "Whether an answer can be read and written as a stream."
    embeds: bool
    "Whether it asks for vectors in place of an answer."

    def recognises(self, path: str) -> bool:
        """Whether a POST to this path of any host is a call in this format; the path may be decoded or not."""
        ...

    def read_request(self, body: bytes, path: str) -> ProviderRequest:
        """Read a request; MalformedExchange where it is not one. Some formats name the model in the path."""
        ...

    def write_request(self, request: ProviderRequest, key: str) -> WireRequest:
        """Write a request, with the header that carries the key."""
        ...

    def write_reply(self, request: ProviderRequest, reply: ProviderReply) -> bytes:
        """Write a whole answer; the same call gives the same bytes."""
        ...

    def write_stream(self, request: ProviderRequest, reply: ProviderReply, pieces: Sequence[str]) -> list[bytes]:
        """Write an answer as a stream, one entry of frames for each piece of its text."""
        ...

    def write_error(self, failure: Failure) -> WireError:
        """Write a refusal."""
        ...

    def write_stream_error(self, failure: Failure) -> bytes:
        """Write a refusal as the frame that ends a stream which has begun well."""
        ...

    def read_reply(self, body: bytes) -> ProviderReply:
        """Read a whole answer; MalformedExchange where it is not one."""
        ...

    def stream_reader(self) -> StreamReader:
        """Read a stream while it comes."""
        ...

    def read_error(self, body: bytes) -> tuple[str | None, str]:
        """The provider's word for an error (None where it says none) and its message."""
        ...


class WithoutStream:
    """The part of a language that has no stream."""

    name: str
    stream_type = ""
    streams = False

    def write_stream(
        self,
        request: ProviderRequest,  # noqa: ARG002 - the protocol's
        reply: ProviderReply,  # noqa: ARG002 - the protocol's
        pieces: Sequence[str],  # noqa: ARG002 - the protocol's
    ) -> list[bytes]:
        """Never asked for."""
        raise MalformedExchange(f"{self.name} has no stream")

    def write_stream_error(self, failure: Failure) -> bytes:  # noqa: ARG002 - the protocol's
        """Never asked for."""
        raise MalformedExchange(f"{self.name} has no stream")

    def stream_reader(self) -> StreamReader:
        """Never asked for."""
        raise MalformedExchange(f"{self.name} has no stream")


def read_object(body: bytes | str, *, what: str) -> dict[str, Any]:
    """The JSON object in a body, or one error that shows what stood there instead."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedExchange(f"{what} is not JSON ({error}): {show(body)}") from None
    if not isinstance(value, dict):
        raise MalformedExchange(f"{what} is not a JSON object: {show(body)}")
    return cast("dict[str, Any]", value)


def show(body: bytes | str, limit: int = 120) -> str:
    """The start of a body, for a message."""
    text = body.decode("utf-8", errors="replace") if isinstance(body, bytes) else body
    return repr(text if len(text) <= limit else text[:limit] + "...")


def write_object(value: Mapping[str, Any]) -> bytes:
    """Compact JSON."""
    return to_json(value).encode()


def read_message(role: str, content: object, *, what: str) -> Message:
    """A message whose content is a string, a list of parts or null, as both formats allow."""
    if content is None:
        return Message(role=role, text="")
    if isinstance(content, str):
        return Message(role=role, text=content)
    parts = objects(content)
    if parts is None:
        raise MalformedExchange(
            f"{what}: the content of a message of role {role!r} is {type(content).__name__}, not text or parts"
        )
    return Message(role=role, text="".join(text_of(part) for part in parts), parts=tuple(parts))


def text_of(part: Mapping[str, Any]) -> str:
    """The text of a part; empty for images, tool results and the like."""
    text = part.get("text")
    return text if isinstance(text, str) else ""


def content_of(message: Message) -> Any:
    """The content of a message as it is sent: the parts where it has them, else the text."""
    return message.text if message.parts is None else [dict(part) for part in message.parts]


def mapping(value: object) -> dict[str, Any]:
    """The value where it is an object, else an empty one: providers leave members out or send null."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def objects(value: object) -> list[dict[str, Any]] | None:
    """The value where it is a list of objects, else None."""
    if isinstance(value, list) and all(isinstance(entry, dict) for entry in cast("list[object]", value)):
        return cast("list[dict[str, Any]]", value)
    return None


def count(value: object) -> int:
    """A number of tokens; what is absent, null or nonsense counts as 0, as clients read it."""
    return value if type(value) is int and value > 0 else 0


def open_request(body: bytes, *, what: str) -> tuple[dict[str, Any], str, tuple[Message, ...]]:
    """The object, the model and the messages of a request, which both formats name alike."""
    value = read_object(body, what=f"{what} request")
    model, messages = value.get("model"), objects(value.get("messages"))
    if not isinstance(model, str) or messages is None:
        found = [type(value[name]).__name__ if name in value else "missing" for name in ("model", "messages")]
        raise MalformedExchange(
            f"{what} request needs a model (text) and messages (a list of objects); its model is {found[0]}, its "
            f"messages are {found[1]}, it has {sorted(value)}"
        )
    read = (read_message(str(entry.get("role", "")), entry.get("content"), what=what) for entry in messages)
    return value, model, tuple(read)


def error_words(value: Mapping[str, Any], *names: str) -> tuple[str | None, str]:
    """
    The provider's word for an error, from the first of these members that is given, and its message.

    Compatible hosts send the members at the top, or the message alone in place of the object.
    """
    error = value.get("error")
    if isinstance(error, str):
        return None, error
    members = mapping(error) if "error" in value else value
    word = next((members[name] for name in names if members.get(name)), None)
    return (str(word) if word else None), str(members.get("message") or "")


def arguments_of(text: object) -> dict[str, Any]:
    """Arguments of a tool call from the JSON text that carries them; kept under `_raw` where a model broke the JSON."""
    if not isinstance(text, str) or not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        return {"_raw": text}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {"_raw": text}
