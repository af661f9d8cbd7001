"""
The kinds of secrets that can be told by their looks, and the names under which secrets stand.

Each kind has needles, pieces of text of which one is in every secret of the kind: where none is found, which is nearly
always, its regular expression is not run at all. Those whose needles are not folded are runs of 16 or more characters
of keys (`prefilter.py`), or have needles of which `prefilter.py` knows.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of secret."""

    name: str
    needles: tuple[str, ...]
    "One of them is in each text that holds such a secret; empty where the pattern has to be tried on every text."
    pattern: re.Pattern[str]
    "What it matches is the secret, or only its group `secret` where it has one."
    folded: bool = False
    "Whether the needles are looked for in the text in lower case."
    check: Callable[[str], bool] | None = None
    "Told the match, whether it is one; for what a regular expression cannot say."

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where secrets of this kind stand."""
        group = "secret" if "secret" in self.pattern.groupindex else 0
        return [
            found.span(group)
            for found in self.pattern.finditer(text)
            if found.start(group) < found.end(group) and (self.check is None or self.check(found[group]))
        ]


def _mixed(text: str) -> bool:
    """Whether it has letters and digits, as keys made at random have and words have not."""
    return any(each.isdigit() for each in text) and any(each.isalpha() for each in text)


def _in_two_cases(text: str) -> bool:
    return _mixed(text) and text.lower() != text != text.upper()


def _random(text: str) -> bool:
    return (_mixed(text) and not re.search(r"[-_]", text)) or _in_two_cases(text)


def _user_and_password(text: str) -> bool:
    """Whether it is what HTTP's Basic scheme sends, and not the word behind "basic"."""
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    return b":" in decoded and decoded.isascii()


def _token(text: str) -> bool:
    return any(each.isdigit() for each in text) or len(text) >= _LONG


_LONG: Final = 24
'No English word behind "bearer" is longer.'
_ESCAPED: Final = r"|(?<=%[0-9A-Fa-f]{2})|(?<=\\[nrt])"
_START: Final = r"(?:(?<![A-Za-z0-9_-])" + _ESCAPED + ")"
"Where a key begins: not inside of a word such as task-, but behind %20 and an escaped line break."


def _kind(name: str, needles: str, pattern: str, check: Callable[[str], bool] | None = None) -> Kind:
    return Kind(name=name, needles=tuple(needles.split()), pattern=re.compile(pattern), check=check)


def _loose(name: str, needles: tuple[str, ...], pattern: str, check: Callable[[str], bool] | None = None) -> Kind:
    return Kind(name=name, needles=needles, pattern=re.compile(pattern, re.IGNORECASE), folded=True, check=check)


_WORDS: Final = (
    *("api key", "api keys", "api token", "api secret", "access token", "access key", "access key id", "account key"),
    *("auth token", "bearer token", "client secret", "id token", "private key", "private key id", "refresh token"),
    *("secret access key", "secret key", "security token", "session key", "session token", "shared access key"),
    *("subscription key", "signing key", "secret", "secrets", "password", "passwd", "passphrase", "pwd", "credential"),
    *("credentials", "authorization", "cookie", "connection string", "webhook url"),
)
"The last words of names of JSON members, settings and headers whose value is a secret, whatever it looks like."
_ENDINGS: Final = tuple(words.replace(" ", "") for words in _WORDS)
_NAME: Final = r"(?:" + "|".join(words.replace(" ", "[_-]?") for words in _WORDS) + r")(?![\w-])"
_ROOTS: Final = (
    *("key", "token", "secret", "passw", "passphrase", "pwd", "credential", "authorization", "cookie", "connection"),
    "webhook",
)
"One of them is in each of those names."

KINDS: Final[tuple[Kind, ...]] = (
    _kind("Anthropic key", "sk-ant-", r"sk-ant-[A-Za-z0-9_-]{16,}"),
    _kind("OpenRouter key", "sk-or-", r"sk-or-(?:v\d-)?[A-Za-z0-9]{16,}"),
    _kind(
        "OpenAI key",
        "sk-proj- sk-svcacct- sk-admin- sk-None-",
        r"sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{16,}",
        lambda text: any(each.isdigit() or each.isupper() for each in text[8:]),
    ),
    _kind("Langfuse key", "k-lf-", _START + r"[sp]k-lf-[0-9a-f-]{30,}"),
    _kind("key of the form sk-...", "sk-", _START + r"sk-[A-Za-z0-9_-]{20,}", lambda text: _random(text[3:])),
    _kind("Google key", "AIza", _START + r"AIza[A-Za-z0-9_-]{35,45}(?![A-Za-z0-9_/+-])"),
    _kind("Google key", "AQ.", _START + r"AQ\.[A-Za-z0-9_-]{30,}", _mixed),
    _kind("Google access token", "ya29.", r"ya29\.[A-Za-z0-9_.-]{16,}"),
    _kind("Google refresh token", "1//", r"(?:(?<![\w/.-])" + _ESCAPED + r")1//[A-Za-z0-9_-]{30,}"),
    _kind("Google client secret", "GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{20,}"),
    _kind("Groq key", "gsk_", _START + r"gsk_[A-Za-z0-9]{20,}"),
    _kind("xAI key", "xai-", _START + r"xai-[A-Za-z0-9]{20,}"),
    _kind("Hugging Face token", "hf_", _START + r"hf_[A-Za-z0-9]{20,}"),
    _kind("Replicate token", "r8_", _START + r"r8_[A-Za-z0-9]{20,}"),
    _kind("Perplexity key", "pplx-", _START + r"pplx-[A-Za-z0-9]{20,}"),
    _kind("NVIDIA key", "nvapi-", _START + r"nvapi-[A-Za-z0-9_-]{20,}"),
    _kind("Cerebras key", "csk-", _START + r"csk-[A-Za-z0-9]{20,}"),
    _kind("Fireworks key", "fw_", _START + r"fw_[A-Za-z0-9]{20,}", _mixed),
    _kind("LangSmith key", "lsv2_", r"lsv2_[a-z]{2}_[A-Za-z0-9_]{20,}"),
    _kind("Databricks token", "dapi", _START + r"dapi[0-9a-f]{32}(?:-\d)?(?![0-9A-Za-z])"),
    _kind("Pinecone key", "pcsk_", r"pcsk_[A-Za-z0-9_]{20,}"),
    _kind("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", _START + r"gh[pousr]_[A-Za-z0-9]{20,}"),
    _kind("GitHub token", "github_pat_", r"github_pat_[A-Za-z0-9_]{20,}"),
    _kind("GitLab token", "glpat-", r"glpat-[A-Za-z0-9_-]{16,}"),
    _kind("Slack token", "xox xapp-", _START + r"(?:xox[abceoprs]-|xapp-)(?:[A-Za-z0-9]+-)*[A-Za-z0-9]{12,}"),
    _kind("Slack webhook", "hooks.slack.com/", r"hooks\.slack\.com/\w+/(?P<secret>[A-Za-z0-9/]{20,})"),
    _kind("Stripe key", "_live_ _test_", _START + r"[srp]k_(?:live|test)_[A-Za-z0-9]{10,}"),
    _kind("Stripe webhook secret", "whsec_", r"whsec_[A-Za-z0-9+/=]{16,}"),
    _kind("SendGrid key", "SG.", _START + r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    _kind("npm token", "npm_", _START + r"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
    _kind("PyPI token", "pypi-AgE", r"pypi-AgE[A-Za-z0-9_-]{20,}"),
    _kind(
        "AWS access key id",
        "AKIA ASIA",
        r"(?:(?<![A-Za-z0-9+/_-])" + _ESCAPED + r")(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9+/])",
    ),
    _kind("AWS signature", "AWS4-HMAC", r"AWS4-HMAC-SHA\d+(?:,| )(?P<secret>\s*\w+=[^\r\n\"']+)"),
    _kind("AWS account id", "arn:aws", r"arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:(?P<secret>\d{12})(?=:)"),
    _kind("JSON web token", "eyJ", _START + r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){2,4}"),
    _kind(
        "private key",
        "-----BEGIN",
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[\s\S]{0,20000}?-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|[A-Za-z0-9+/=\s\\]*)",
    ),
    _kind("organisation id", "org-", _START + r"org-[A-Za-z0-9]{16,}(?![A-Za-z0-9-])", _mixed),
    _kind("project id", "proj_", _START + r"proj_[A-Za-z0-9]{16,}", _mixed),
    _kind(
        "project id",
        "projects/",
        r"(?<![A-Za-z0-9_-])projects/(?P<secret>\d{6,}|[^/\s\"'?#\\:]+(?=/(?:locations|publishers|global|endpoints|models"
        r"|cachedContents|operations|regions|serviceAccounts|secrets|topics)(?![\w.-])))",
    ),
    _loose("project id", ("project",), r"\bproject(?:[ _-]?number)?[ =:\"]{1,4}(?P<secret>\d{6,})(?!\d)"),
    _kind("password in a URL", "@", r"://(?P<secret>[^/?#\s@\"'<>\\]+)@"),
    _loose("Bearer token", ("bearer",), r"\bBearer(?:\s|%20|\+)+(?P<secret>[A-Za-z0-9._~+/-]{8,}=*)", _token),
    _loose(
        "Basic credentials", ("basic",), r"\bBasic(?:\s|%20)+(?P<secret>[A-Za-z0-9+/_-]{6,}={0,2})", _user_and_password
    ),
    _loose("cookie", ("cookie:",), r"cookie:[ \t]*(?P<secret>[^\s=;,]{1,100}=[^\r\n]+)"),
    _loose(
        "secret by its name",
        _ROOTS,
        _NAME + r"\\*[\"']\s*:\s*(?P<q>\\*[\"'])(?P<secret>(?:(?!(?P=q))[^\r\n]){1,4000})(?P=q)",
    ),
    _loose(
        "secret by its name",
        _ROOTS,
        _NAME + r"\s?=\s?(?P<q>\\*[\"'])(?P<secret>(?:(?!(?P=q))[^\r\n]){1,4000})(?P=q)",
        lambda text: not text.startswith(("{", "$", "<")),
    ),
    _loose(
        "secret by its name",
        _ROOTS,
        _NAME + r"(?::[ \t]?|[ \t]?=[ \t]?)(?:(?:Bearer|Basic|Token|Key)[ \t]+)?"
        r"(?P<secret>[^\s\"',;&<>{}()\[\]\\]{8,})",
        lambda text: _mixed(text) and not re.match(r"[a-z]+:/{2}|[/.$]", text),
    ),
    _loose(
        "secret by its name",
        ('name="',),
        r"name=\"[\w.-]{0,40}?" + _NAME + r"\"(?:\r?\n[^\r\n]+)*\r?\n\r?\n(?P<secret>[^\r\n]+)",
    ),
)
"What is looked for in every text, in no particular order: spans that overlap become one."


def names_a_secret(name: str) -> bool:
    """Whether a JSON member, a field of a form or a setting of this name holds a secret, whatever it looks like."""
    return re.sub(r"[^a-z0-9]", "", name.lower()).endswith(_ENDINGS)


def may_name_a_secret(name: str) -> bool:
    """Whether it often does: a model's token is a word, a login's token is not."""
    return name.lower() in ("token", "auth")


_SHORTEST_PROJECT: Final = 6
_SHORTEST_TOKEN: Final = 20
"Longer than a model's longest token."


def names_a_project(name: str, value: str) -> bool:
    """Whether it is the number of a Google project."""
    plain = re.sub(r"[ _-]", "", name.lower())
    return plain in ("project", "projectnumber") and value.isdigit() and len(value) >= _SHORTEST_PROJECT


def looks_random(text: str) -> bool:
    """Whether a text under such a name is a secret."""
    return len(text) >= _SHORTEST_TOKEN and " " not in text and _mixed(text)


_QUERY: Final = frozenset(
    (
        *("key", "apikey", "accesskey", "accesstoken", "idtoken", "refreshtoken", "token", "auth", "authkey", "sig"),
        *("signature", "code", "clientsecret", "secret", "password", "passwd", "pwd", "session", "sessionid", "sid"),
        *("jwt", "assertion", "awsaccesskeyid", "googleaccessid", "policy", "keypairid", "subscriptionkey"),
        *("codeverifier", "hmac", "samlresponse"),
    )
)


def query_names_a_secret(name: str) -> bool:
    """Whether the value of a query parameter of this name is a secret."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return plain in _QUERY or plain.startswith(("xamz", "xgoog")) or plain.endswith(_ENDINGS)


_HEADERS: Final = re.compile(
    r"(?:proxy-)?authorization|(?:set-)?cookie2?|openai-(?:organization|project)|anthropic-organization-id"
    r"|x-amz-(?:security-token|credential|signature)|x-goog-user-project|x-goog-iam-authorization-token"
    r"|.*(?:api-?key|-token|secret|password|credentials?|-auth|access-key|subscription-key)",
    re.IGNORECASE,
)


def header_names_a_secret(name: str) -> bool:
    """Whether the value of a header of this name is a secret, or names an organisation or a session."""
    return _HEADERS.fullmatch(name) is not None


_PLACEHOLDER: Final = re.compile(
    r"(?:(?:bearer|basic) )?(?:redacted|dummy|fake|filtered|scrubbed|masked|removed|hidden|omitted|secret|none|null"
    r"|test|example|your|my|api|key|token|placeholder|x|[\W_])*",
    re.IGNORECASE,
)


def stands_for_a_secret(value: str) -> bool:
    """Whether it is what people write in place of a secret: DUMMY, [FILTERED], <your-api-key>, ****."""
    return _PLACEHOLDER.fullmatch(value) is not None
