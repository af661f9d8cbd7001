"""Secrets known by their value: those of the environment, in the forms in which they travel."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, quote_plus, unquote, urlsplit

from pytest_modelroute.cassettes.views import REDACTED

_SHORTEST: Final = 8
_LONGEST_WORD: Final = 20
_WORD_OF_A_NAME: Final = re.compile(
    r".*(?:KEYS?|TOKENS?|PASSWORDS?|PASSWD|PASSPHRASE|CREDENTIALS?)|.*SECRETS?.*|AUTH|AUTHORIZATION|PASS|PWD|PAT|JWT|DSN"
    r"|COOKIE|BEARER"
)
_ID_OF_AN_ACCOUNT: Final = re.compile(
    r"(?:OPENAI|ANTHROPIC|AZURE_OPENAI)_(?:ORG|ORGANIZATION|PROJECT)(?:_ID)?|GOOGLE_CLOUD_PROJECT|GCP_PROJECT(?:_ID)?"
    r"|AWS_ACCOUNT_ID|AWS_ACCESS_KEY_ID|AZURE_(?:SUBSCRIPTION|TENANT|CLIENT)_ID"
)
_SAYS_WHERE: Final = (
    "NAME",
    "PATH",
    "FILE",
    "DIR",
    "TYPE",
    "ARN",
    "REGION",
    "HOST",
    "BACKEND",
    "PROVIDER",
    "VERSION",
    "SOCK",
)
"The last word of names such as SECRET_NAME, which say where a secret is, and hold none."
_PATH: Final = re.compile(r"(?:~?/|\.{1,2}/|[A-Za-z]:[\\/])[^:*?\"<>|]*")
_WORD: Final = re.compile(r"[a-z]+|[A-Z]+|[A-Z][a-z]+|[a-z_-]+\.[a-z_.-]+")


@dataclass(frozen=True, slots=True)
class Form:
    """One form of a secret of the environment."""

    text: str
    "What to look for."
    kind: str
    encoded: bool = False
    "Whether it is base64: the characters next to it hold a few bits of the secret, too."


def forms_of(environment: Mapping[str, str]) -> tuple[Form, ...]:
    """The secrets among environment variables, in each form in which they may be sent; the longest first."""
    forms = dict[str, Form]()
    for name, value in environment.items():
        for secret in dict.fromkeys(_secrets(name, value)):
            for form in _forms(secret, f"value of ${name}"):
                forms.setdefault(form.text, form)
    return tuple(sorted(forms.values(), key=lambda form: -len(form.text)))


def _secrets(name: str, value: str) -> Iterator[str]:
    password = _password(value)
    if password is not None:
        yield password
    if not names_a_secret_variable(name):
        return
    for part in (value.strip(), *re.split(r"[,;\s]+", value)) if "-----BEGIN" not in value else (value.strip(),):
        if len(part) >= _SHORTEST and not is_ordinary(part) and part not in REDACTED:
            yield part


def names_a_secret_variable(name: str) -> bool:
    """Whether an environment variable of this name holds a secret, or the id of an account."""
    words = name.upper().split("_")
    if _ID_OF_AN_ACCOUNT.fullmatch(name.upper()):
        return True
    return words[-1] not in _SAYS_WHERE and any(_WORD_OF_A_NAME.fullmatch(word) for word in words)


def is_ordinary(value: str) -> bool:
    """Whether a value is a word, a path, a number of tokens or an address, which no secret is."""
    if _WORD.fullmatch(value):
        return len(value) <= _LONGEST_WORD
    if re.fullmatch(r"[\d.,_]+", value):
        return len(value) < 10  # noqa: PLR2004 - a limit of tokens, a port, a date
    if re.match(r"[a-z][a-z0-9+.-]*://", value):
        return True  # its password was taken already
    if _PATH.fullmatch(value):
        return not any(_random(part) for part in re.split(r"[\\/]", value))
    return False


def _random(part: str) -> bool:
    """Whether a part of a path is rather a part of a key in base64, which may begin with a slash."""
    return (
        len(part) >= 16  # noqa: PLR2004 - as few names of files are
        and "." not in part
        and any(each.isdigit() for each in part)
        and part.lower() != part != part.upper()
    )


def _password(value: str) -> str | None:
    """The password of a URL, such as that of a database; the name of the variable does not matter there."""
    if "://" not in value or "@" not in value:
        return None
    try:
        password = urlsplit(value).password
    except ValueError:
        return None
    plain = unquote(password or "")
    return plain if len(plain) >= _SHORTEST and plain not in REDACTED else None


def _forms(secret: str, kind: str) -> Iterator[Form]:
    data = secret.encode("utf-8", "surrogateescape")
    plain = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    plain |= {form.replace("/", r"\/") for form in plain}
    plain |= {form.replace("\\", "\\\\") for form in plain}
    quoted = {quote(data, safe=""), quote(data), quote_plus(data)}
    plain |= quoted | {re.sub("%..", lambda found: found[0].lower(), form) for form in quoted}
    plain |= {data.hex(), data.hex().upper()}
    yield from (Form(text, kind) for text in sorted(plain))
    for offset, first in enumerate((0, 2, 3)):
        whole = base64.b64encode(b"\0" * offset + data).decode()
        core = whole[first : (offset + len(data)) * 8 // 6]
        yield Form(core, kind, encoded=True)
        yield Form(core.replace("+", "-").replace("/", "_"), kind, encoded=True)
        yield Form(core.replace("/", r"\/"), kind, encoded=True)
        yield Form(quote(core, safe=""), kind, encoded=True)
