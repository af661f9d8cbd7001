"""
What a secret is, and finding it in a text: by its looks, by the name it stands under, and by its value.

A text that is JSON is looked at string by string, as it is after its escapes, so that what is cut out leaves valid
JSON; a string that is JSON itself (the arguments of a tool) likewise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_modelroute.cassettes.prefilter import Prefilter
from pytest_modelroute.cassettes.secret_kinds import (
    KINDS,
    Kind,
    looks_random,
    may_name_a_secret,
    names_a_project,
    names_a_secret,
)
from pytest_modelroute.cassettes.secret_values import Form, forms_of
from pytest_modelroute.cassettes.views import REDACTED, Found, Token, json_tokens, string_view, url_view
from pytest_modelroute.providers.language import is_json

_DEEPEST: Final = 6
"How deep JSON in strings of JSON is looked into; below, it is searched as plain text."
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]")
_BASE64_END: Final = re.compile(r"[A-Za-z0-9+/_-]?={0,2}")


@dataclass(frozen=True, slots=True)
class Finding:
    """A secret that is still there: its kind and its line, never the secret itself."""

    kind: str
    line: int


class Finder:
    """Finds secrets in a text."""

    def __init__(self, *, environment: Mapping[str, str], patterns: Sequence[str]) -> None:
        """Prepare what to look for."""
        self._forms = forms_of(environment)
        own = (Kind(name=f"pattern {each!r}", needles=(), pattern=re.compile(each)) for each in patterns)
        self._kinds = (*KINDS, *own)
        always = tuple(kind.pattern for kind in self._kinds if not kind.needles)
        self.is_clean: Final = Prefilter(forms=self._forms, always=always).is_clean
        "Whether a text holds surely no secret; True of most texts, and fast."

    def find(self, text: str, depth: int = 0) -> list[Found]:
        """The secrets of a text, which may overlap."""
        if self.is_clean(text):
            return []
        if depth < _DEEPEST and is_json(text):
            return list(self.in_tokens(text, json_tokens(text), depth))
        found = list(self._plain(text))
        if "%" in text:
            view = url_view(text)
            found += view.raw(self._plain(view.text))
        return found

    def in_tokens(self, text: str, tokens: Iterable[Token], depth: int = 0) -> Iterator[Found]:
        """The secrets in the strings and numbers of a JSON document."""
        for token in tokens:
            if token.end == token.start:
                continue
            if not token.is_string:
                yield from self._in_number(token, text[token.start : token.end])
                continue
            view = string_view(text, token.start, token.end)
            if not token.is_name and is_named_secret(token.name, view.text):
                yield Found(token.start, token.end, "secret by its name")
            yield from view.raw(self._plain(view.text) if token.is_name else self.find(view.text, depth + 1))

    def _in_number(self, token: Token, number: str) -> Iterator[Found]:
        kinds = [form.kind for form in self._forms if form.text in number]
        if names_a_project(token.name, number):
            kinds.append("project id")
        return (Found(token.start, token.end, kind, f'"{REDACTED}"') for kind in kinds)

    def _plain(self, text: str) -> Iterator[Found]:
        for form in self._forms:
            yield from _places(text, form)
        folded = text.lower()
        for kind in self._kinds:
            where = folded if kind.folded else text
            if not kind.needles or any(map(where.__contains__, kind.needles)):
                yield from (Found(start, end, kind.name) for start, end in kind.spans(text))


def is_named_secret(name: str, value: str) -> bool:
    """Whether a JSON member of this name and value is a secret by its name."""
    return names_a_secret(name) or (may_name_a_secret(name) and looks_random(value)) or names_a_project(name, value)


def _places(text: str, form: Form) -> Iterator[Found]:
    start = text.find(form.text)
    while start >= 0:
        end = start + len(form.text)
        first, last = start, end
        if form.encoded:
            first -= start > 0 and _BASE64.match(text[start - 1]) is not None
            tail = _BASE64_END.match(text, end)
            last = end if tail is None else tail.end()
        yield Found(first, last, form.kind)
        start = text.find(form.text, end)
