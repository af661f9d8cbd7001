"""Stock rewrites of a prompt: those that must not move a route, and those that make it harder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

HARDER: Final = (
    " Then prove it formally, step by step, and discuss every edge case.",
    " Compare at least three approaches, analyse their trade-offs in depth, and write tested code for the best one.",
)
"Parts that make any request clearly harder."


def pad(text: str) -> str:
    """Whitespace around a text."""
    return f"  \n{text}\t \n"


def recase(text: str) -> str:
    """The other case of every ASCII letter; others keep theirs, since some change their length with it."""
    return "".join(letter.swapcase() if letter.isascii() else letter for letter in text)


def preamble(text: str) -> str:
    """A polite word before it."""
    return f"Please: {text}"


def typo(text: str) -> str:
    """Two letters in the middle of the longest word change places."""
    words = text.split(" ")
    longest = max(range(len(words)), key=lambda place: len(words[place]), default=None)
    if longest is None or len(words[longest]) < 5 or not words[longest].isalpha():  # noqa: PLR2004 - short words are kept
        return text
    word = words[longest]
    middle = len(word) // 2
    words[longest] = word[: middle - 1] + word[middle] + word[middle - 1] + word[middle + 1 :]
    return " ".join(words)


STOCK: Final[Mapping[str, Callable[[str], str]]] = {
    "whitespace": pad,
    "case": recase,
    "preamble": preamble,
    "typos": typo,
}


def apply(rewrite: str | Callable[[str], str], text: str) -> str:
    """A prompt rewritten, by a stock rewrite's name or by a function."""
    return STOCK[rewrite](text) if isinstance(rewrite, str) else rewrite(text)


def harder(rewrite: str | Callable[[str], str], text: str) -> str:
    """A prompt made harder, by a part to append or by a function."""
    return text + rewrite if isinstance(rewrite, str) else rewrite(text)
