"""How a provider refuses: the error classes that routers decide on, and the words that each language has for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

ErrorClass: TypeAlias = Literal[
    "rate_limited",
    "quota_exhausted",
    "overloaded",
    "unavailable",
    "server_error",
    "timeout",
    "connection",
    "not_found",
    "context_overflow",
    "content_filtered",
    "malformed",
    "authentication",
    "permission",
    "bad_request",
]
"""
What went wrong, whatever the provider calls it.

`timeout`, `connection` and `malformed` also stand for what the transport shows: no answer in time, no connection or a
lost one, a body that is no answer. `authentication`, `permission` and `bad_request` are the caller's own fault.
"""

CALLERS_OWN: Final = frozenset({"authentication", "permission", "bad_request"})
"What is wrong with the request or its key is wrong with every candidate, and must not be hidden behind an answer."
RECOVERABLE: Final = frozenset(get_args(ErrorClass)) - CALLERS_OWN
"What another model may answer in place of the one that failed."
_BY_STATUS: Final[Mapping[int, ErrorClass]] = {
    401: "authentication",
    402: "quota_exhausted",
    403: "permission",
    404: "not_found",
    408: "timeout",
    429: "rate_limited",
    502: "unavailable",
    503: "unavailable",
    504: "timeout",
    529: "overloaded",
}
_FIRST_SERVER_STATUS: Final = 500


class Spoken(NamedTuple):
    """What a provider says for an error class."""

    status: int
    word: str | None
    "Its code or type for it; None where it has no word."
    type: str | None = None
    "The broader type, in formats that give both."


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A refusal, to be written in a provider's own words."""

    kind: ErrorClass
    message: str
    retry_after: float | None = None
    "Seconds, for the formats that say it in the body; headers are not a format's business."


@dataclass(frozen=True, slots=True, kw_only=True)
class WireError:
    """A refusal as HTTP carries it."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    "Beyond the content type, where a format says a part of the error in them."


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """
    The words of one provider, to be spoken and to be understood.

    The class of an error comes from its status and code. Only where a provider has no code of its own for a class (a
    prompt that is too long, with most of them) a phrase of the message decides, and only of a 400, 413, 429 or 503.
    """

    spoken: Mapping[ErrorClass, Spoken]
    understood: Mapping[str, ErrorClass] = field(default_factory=dict[str, ErrorClass])
    "Words beyond the spoken ones."
    vague: frozenset[str] = frozenset()
    "Words that stand for more than the class they are spoken for, so that they do not tell."
    retry_in_body: bool = False
    "Whether it says in the body how long to wait, and in no header."
    word_header: str | None = None
    "The header that carries the word, in lower case, where the body does not."
    phrases: Mapping[str, ErrorClass] = field(default_factory=dict[str, ErrorClass])
    "Lower case; what the message holds where the code does not tell."

    def say(self, kind: ErrorClass) -> Spoken:
        """What the provider says for a class; the plainest refusal for one that it has no word for."""
        return self.spoken.get(kind) or self.spoken["bad_request"]

    def classify(self, status: int | None, word: str | None, message: str = "") -> ErrorClass:
        """
        The class of an error.

        Args:
            status: HTTP status; None for an error that came in the middle of a stream.
            word: The provider's code, else its type; None where it gave none.
            message: Its message.

        """
        kind = self._of_word(word)
        if kind is None and status in {400, 413, 429, 503, None}:
            kind = self._of_message(message.casefold())
        return kind or _of_status(status)

    def _of_message(self, said: str) -> ErrorClass | None:
        for phrase, kind in self.phrases.items():
            if phrase in said:
                return kind
        return None

    def _of_word(self, word: str | None) -> ErrorClass | None:
        if word is None or word in self.vague:
            return None
        if word in self.understood:
            return self.understood[word]
        # A word that stands for several classes tells none of them.
        kinds: list[ErrorClass] = [kind for kind, spoken in self.spoken.items() if spoken.word == word]
        return kinds[0] if len(kinds) == 1 else None


def _of_status(status: int | None) -> ErrorClass:
    if status is None:
        return "server_error"
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return "server_error" if status >= _FIRST_SERVER_STATUS else "bad_request"
