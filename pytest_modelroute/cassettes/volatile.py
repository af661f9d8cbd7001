"""Values that look as if they changed from run to run: ids, dates and times."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_UUID: Final = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
_TIME: Final = r"\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?"
_DATE: Final = rf"\d{{4}}-\d{{2}}-\d{{2}}(?:[T ]{_TIME}(?:Z|[+-]\d{{2}}:?\d{{2}})?)?"
_EPOCH: Final = r"[1-3]\d{9}(?:\.\d+|\d{3}|\d{6}|\d{9})?"
"Seconds since 1970, of 2001 to 2096; milli-, micro- or nanoseconds."
_ID: Final = r"(?:[A-Za-z]+[_-])*(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{12,}"
"Letters and digits in one long word, which no word of a language is."
_KINDS: Final = tuple(
    (kind, re.compile(rf"(?<![\w.-]){pattern}(?![\w-])"))
    for kind, pattern in (("UUID", _UUID), ("date", _DATE), ("time", _TIME), ("time", _EPOCH), ("random id", _ID))
)


def kind_of(value: object) -> str | None:
    """What a whole value looks like: a UUID, date, time or random id; None for anything that stays as it is."""
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        text = str(value)
        return next((kind for kind, pattern in _KINDS if pattern.fullmatch(text)), None)
    return None


def kind_between(old: object, new: object) -> str | None:
    """Of what kind two values are, or the one part in which two texts differ; None where anything else differs."""
    kind = kind_of(old)
    if kind is not None and kind == kind_of(new):
        return kind
    return _kind_within(old, new) if isinstance(old, str) and isinstance(new, str) else None


def _kind_within(old: str, new: str) -> str | None:
    for kind, pattern in _KINDS:
        if old != new and pattern.sub("", old) == pattern.sub("", new):
            return kind
    return None
