"""
Interactions without their secrets.

The same functions see what is saved and what a replayed test sends, so that both match. They are stable: redacting
twice changes nothing, and it does not matter how a secret was found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Final, cast

from pytest_modelroute.cassettes.encodings import decoded
from pytest_modelroute.cassettes.eventstream import closed_payloads, opened_payloads, reframed
from pytest_modelroute.cassettes.interaction import Headers, RecordedRequest, RecordedResponse
from pytest_modelroute.cassettes.secret_kinds import header_names_a_secret
from pytest_modelroute.cassettes.secrets import Finder, Finding
from pytest_modelroute.cassettes.streams import as_text, find_in_body, find_in_url, is_framed, may_be_split
from pytest_modelroute.cassettes.views import REDACTED, Found, replaced, settled
from pytest_modelroute.errors import RecordingError

REQUEST_HEADERS: Final = re.compile(
    r"content-type|accept|user-agent|anthropic-(?:version|beta)|openai-beta|x-amz-target|x-amzn-bedrock-.*|prefer",
    re.IGNORECASE,
)
"What is kept of a request: what says what was asked."
RESPONSE_HEADERS: Final = re.compile(
    r"content-type|retry-after.*|x-should-retry|(?:x|anthropic)-ratelimit-.*|(?:.*-)?request-?id|.*-correlation-id"
    r"|openai-(?:processing-ms|version|model)|x-amzn-(?:errortype|bedrock-.*)|x-ms-(?:error-code|region)|server-timing"
    r"|x-envoy-upstream-service-time",
    re.IGNORECASE,
)
"What is kept of a response: what clients act on, and what one asks a provider about a call with."
_PASSES: Final = 20
"Each pass leaves fewer characters that are none of a REDACTED, so that they end; nothing real takes more than two."


class Redactor:
    """Takes the secrets out of texts, URLs, requests and responses."""

    def __init__(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        patterns: Sequence[str] = (),
        keep_headers: Sequence[str] = (),
        hook: Callable[[str], str] | None = None,
    ) -> None:
        """
        Prepare what to look for.

        Args:
            environment: Variables; those whose names are of secrets are looked for by their values. `refresh` looks
                at them again.
            patterns: Regular expressions of further secrets; a group named `secret` is the secret, else the whole.
            keep_headers: Names of headers that are kept beyond those that clients need.
            hook: Given every text after us, returns it without what it knows to be secret.

        """
        self._environment: Mapping[str, str] = {} if environment is None else environment
        self._known = dict(self._environment)
        self._patterns = patterns
        self._finder = Finder(environment=self._known, patterns=patterns)
        self._keep = frozenset(name.lower() for name in keep_headers)
        self._hook = hook

    def refresh(self) -> None:
        """Look for what was put into the environment meanwhile, too; what was there before stays a secret."""
        now = dict(self._environment)
        before = {f"FORMER_{name}": value for name, value in self._known.items() if now.get(name, value) != value}
        known = {**self._known, **now, **before}
        if known != self._known:
            self._known = known
            self._finder = Finder(environment=known, patterns=self._patterns)

    def text(self, text: str) -> str:
        """Any text, for a file, a message or a log, without its secrets."""
        if not self._finder.is_clean(text):
            text, _ = _repeated(text, [], lambda now: settled(now, self._finder.find(now)))
        return self._hooked(text)

    def url(self, url: str) -> str:
        """A URL without user and password, without secrets in path and query, and ids of projects and accounts."""
        if "?" not in url and "#" not in url and "%" not in url and self._finder.is_clean(url):
            return self._hooked(url)
        text, _ = _repeated(url, [], lambda now: settled(now, find_in_url(self._finder, now)))
        return self._hooked(text)

    def request(self, request: RecordedRequest) -> RecordedRequest:
        """
        A request as it may be saved: the headers that say what was asked, and its body decoded.

        Raises:
            RecordingError: The body cannot be decoded, or the hook fails.

        """
        body, _ = decoded(request.body, request.header("content-encoding"))
        body, _ = self._body(body, request.header("content-type"), None)
        return RecordedRequest(
            method=request.method,
            url=self.url(request.url),
            headers=self._headers(request.headers, REQUEST_HEADERS, same=body == request.body),
            body=body,
        )

    def response(
        self, response: RecordedResponse, sizes: Sequence[int] | None = None
    ) -> tuple[RecordedResponse, list[int] | None]:
        """
        A response as it may be saved: the headers that clients act on, and its body decoded.

        Args:
            response: As received.
            sizes: Bytes of each chunk of the body, as received.

        Returns:
            The response, and how many bytes each of these chunks has in its body now.

        Raises:
            RecordingError: The body cannot be decoded, or the hook fails.

        """
        body, now = decoded(response.body, response.header("content-encoding"), sizes)
        body, now = self._body(body, response.header("content-type"), now)
        kept = RecordedResponse(
            status=response.status,
            reason=self.text(response.reason),
            headers=self._headers(response.headers, RESPONSE_HEADERS, same=body == response.body),
            body=body,
        )
        return kept, now

    def remains(self, text: str | bytes) -> list[Finding]:
        """The secrets that are still in a cassette, a journal or any text: what kind and where, never the secret."""
        from pytest_modelroute.cassettes.remains import remaining

        return remaining(self._finder, text)

    def _headers(self, headers: Headers, kept: re.Pattern[str], *, same: bool) -> Headers:
        left = list[tuple[str, str]]()
        for name, value in headers:
            lower = name.lower()
            if lower not in self._keep and not kept.fullmatch(lower):
                continue
            if lower in ("content-encoding", "content-length", "transfer-encoding") and not same:
                continue
            left.append((name, REDACTED if value and header_names_a_secret(lower) else self.text(value)))
        return tuple(left)

    def _body(self, body: bytes, content_type: str, sizes: list[int] | None) -> tuple[bytes, list[int] | None]:
        content_type = content_type.lower()
        framed = is_framed(content_type)
        text, charset = as_text(body, binary=framed)
        bounds = list(accumulate(sizes or ()))
        if may_be_split(text, content_type) or not self._finder.is_clean(text):
            passing = _Passing(charset, framed=framed)
            opened, shells = opened_payloads(text) if framed else ([], [])
            text, bounds = passing.once(text, opened, bounds)
            text, bounds = _repeated(text, bounds, lambda now: find_in_body(self._finder, now, content_type), passing)
            text, bounds = passing.once(text, closed_payloads(text, shells) if framed else [], bounds)
        if charset == "utf-8":
            ours, text = text, self._hooked(text)
            if ours != text:
                _, bounds = _Passing(charset).once(ours, _difference(ours, text), bounds)
        now = None if sizes is None else [end - start for start, end in pairwise((0, *bounds))]
        return text.encode(charset, "surrogatepass"), now

    def _hooked(self, text: str) -> str:
        if self._hook is None:
            return text
        name = f"{self._hook.__module__}:{getattr(self._hook, '__qualname__', type(self._hook).__qualname__)}"
        try:
            left = cast("object", self._hook(text))
        except Exception as error:  # noqa: BLE001 - it is the user's
            raise RecordingError(
                f'redact = "{name}" raised {type(error).__name__}: '
                "it is given a text, and returns it without its secrets"
            ) from None
        if not isinstance(left, str):
            raise RecordingError(
                f'redact = "{name}" returned {type(left).__name__}: '
                "it is given a text, and returns it without its secrets"
            )
        return left


class _Passing:
    """Replaces what was found, and moves the ends of chunks along."""

    def __init__(self, charset: str = "utf-8", *, framed: bool = False) -> None:
        self._charset = charset
        self._framed = framed

    def once(self, text: str, found: Sequence[Found], bounds: Sequence[int]) -> tuple[str, list[int]]:
        moved = list(self._moved(text, found, bounds)) if bounds else []
        return (reframed(text, found) if self._framed else replaced(text, found)), moved

    def _moved(self, text: str, found: Sequence[Found], bounds: Sequence[int]) -> Iterator[int]:
        """An end of a chunk inside of what was found comes to stand behind what is put there."""
        edits, at, size = list[tuple[int, int, int]](), 0, 0
        for each in found:
            start = size + self._bytes(text[at : each.start])
            size = start + self._bytes(text[each.start : each.end])
            edits.append((start, size, self._bytes(each.put)))
            at = each.end
        number, shift = 0, 0
        for bound in bounds:
            while number < len(edits) and edits[number][1] <= bound:
                start, end, put = edits[number]
                shift += put - (end - start)
                number += 1
            start, _, put = edits[number] if number < len(edits) else (bound, bound, 0)
            yield (start + put if start < bound else bound) + shift

    def _bytes(self, text: str) -> int:
        return len(text.encode(self._charset, "surrogatepass"))


def _repeated(
    text: str, bounds: list[int], find: Callable[[str], list[Found]], passing: _Passing | None = None
) -> tuple[str, list[int]]:
    """Replace until nothing is found: so doing it once more changes nothing."""
    for _ in range(_PASSES):
        found = find(text)
        if not found:
            break
        text, bounds = (passing or _Passing()).once(text, found, bounds)
    return text, bounds


def _difference(before: str, after: str) -> list[Found]:
    """What a hook changed, as one place."""
    start = _shared(before, after)
    shorter = min(len(before), len(after)) - start
    tail = _shared(before[::-1][:shorter], after[::-1][:shorter])
    return [Found(start, len(before) - tail, "", after[start : len(after) - tail])]


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
