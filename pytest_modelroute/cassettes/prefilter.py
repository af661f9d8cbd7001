"""
Telling at once that a text holds no secret, as nearly every text of a replayed request does not.

A search for one piece of text costs half a microsecond for each kB, so that the hundred pieces there are to look for
are not looked for in the text itself, but in what could be a key in it: runs of 16 or more of the characters of keys.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Final

from pytest_modelroute.cassettes.secret_kinds import KINDS
from pytest_modelroute.cassettes.secret_values import Form

_RUN: Final = 16
_OF_A_RUN: Final = frozenset((string.ascii_letters + string.digits + "_-+/=.:%~").encode())
_MARKED: Final = bytes(1 if code in _OF_A_RUN else 0 for code in range(256))
_LONG: Final = b"\1" * _RUN
_RUNS: Final = re.compile(_LONG + b"\1*")

_FOLDED: Final = bytes(ord("=") if chr(code) in "\"':" else code for code in range(256)).translate(
    bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
)
_SKIPPED: Final = b"\\ \t\r\n_-"
_NAMES: Final = tuple(
    f"{end}=".encode()
    for end in (
        *("key", "keys", "keyid", "token", "secret", "secrets", "password", "passwd", "passphrase", "pwd"),
        *("credential", "credentials", "authorization", "cookie", "auth", "connectionstring", "webhookurl"),
    )
)
"What the names of secrets end with, and what follows them in JSON, settings and headers."
_WORDS: Final = (b"bearer", b"basic", b"project", b"formdata;name==")
_QUOTED: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_ASCII_ESCAPED: Final = re.compile(r"\\u00[2-7]")


class Prefilter:
    """Knows what is in every text that holds a secret."""

    def __init__(self, *, forms: Sequence[Form], always: Sequence[re.Pattern[str]]) -> None:
        """Sort what to look for by where to look for it."""
        self._always = tuple(always)
        known = [form.text for form in forms]
        inside = {
            text for text in known if len(text) >= _RUN and set(text.encode("utf-8", "surrogatepass")) <= _OF_A_RUN
        }
        # In the text as it stands: what is short, or has spaces and the like.
        self._anywhere = (*(text for text in known if text not in inside), "projects/", "-----BEGIN")
        needles = {needle for kind in KINDS if not kind.folded for needle in kind.needles}
        self._inside = tuple(sorted(text.encode("utf-8", "surrogatepass") for text in inside | needles))

    def is_clean(self, text: str) -> bool:
        """Whether a text holds surely no secret."""
        data = text.encode("utf-8", "surrogatepass")
        marked = data.translate(_MARKED)
        if _LONG in marked:
            runs = b" ".join(data[run.start() : run.end()] for run in _RUNS.finditer(marked))
            if any(map(runs.__contains__, self._inside)):
                return False
        folded = data.translate(_FOLDED, _SKIPPED)
        if any(map(folded.__contains__, _NAMES)) or any(map(folded.__contains__, _WORDS)):
            return False
        if any(map(text.__contains__, self._anywhere)) or ("@" in text and "://" in text):
            return False
        if "\\" in text and (r"\/" in text or _ASCII_ESCAPED.search(text)):
            return False
        if "%" in text and _QUOTED.search(text):
            return False
        return not any(pattern.search(text) for pattern in self._always)
