"""What a secret is: by its looks, its name and its value; and what only looks like one."""

from __future__ import annotations

import base64
import json
import re
import timeit
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_modelroute.cassettes.redaction import Redactor
from pytest_modelroute.cassettes.secret_values import is_ordinary, names_a_secret_variable
from pytest_modelroute.cassettes.secrets import Finding
from tests.cassettes.planted import ENVIRONMENT, OPENAI, kinds, look_alikes, made_up

KINDS = kinds()
REDACTOR = Redactor(environment=ENVIRONMENT)
BY_LOOKS = Redactor()


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_is_told_by_its_looks(kind: str) -> None:
    """Whatever stands around it, the secret alone is replaced."""
    assert BY_LOOKS.text(f"it is {KINDS[kind]}, ok?") == "it is REDACTED, ok?"


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_is_told_behind_an_escape(kind: str) -> None:
    """A line break that is escaped, or a space of a URL, is no letter of a word."""
    secret = KINDS[kind].replace("\n", " ")
    assert secret not in BY_LOOKS.text(f"first\\n{secret}")
    assert secret not in BY_LOOKS.text(f"first%20{secret}")


@pytest.mark.parametrize("text", look_alikes())
def test_a_look_alike_survives(text: str) -> None:
    """Alone, in prose, in JSON and in JSON in JSON; and the last check does not hold it against a cassette."""
    for form in (text, f"see {text} there", json.dumps({"a": text}), json.dumps({"a": json.dumps([text])})):
        assert REDACTOR.text(form) == form
        assert REDACTOR.remains(form) == []


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Authorization: Bearer " + "abc123def456", "Authorization: Bearer REDACTED"),
        ("authorization: bearer " + "abc.DEF-" + "7", "authorization: bearer REDACTED"),
        ("Basic " + base64.b64encode(b"me:pass").decode(), "Basic REDACTED"),
        ("password=hunter22", "password=REDACTED"),
        ("x-api-key: abcdefg1", "x-api-key: REDACTED"),
        ("client_secret = 'any thing'", "client_secret = 'REDACTED'"),
        ("{'api_key': 'q', 'n': 1}", "{'api_key': 'REDACTED', 'n': 1}"),
        ('log: {"api_key": "q"} sent', 'log: {"api_key": "REDACTED"} sent'),
        ('log: "{\\"api_key\\": \\"x y\\"}" sent', 'log: "{\\"api_key\\": \\"REDACTED\\"}" sent'),
        ("Set-Cookie: a=b; Path=/", "Set-Cookie: REDACTED"),
        ("redis://:" + "pw@cache:6379/0", "redis://REDACTED@cache:6379/0"),
        ("projects/123456789/locations", "projects/REDACTED/locations"),
        ("project_number:123456789", "project_number:REDACTED"),
        ('{"project": 123456789}', '{"project": "REDACTED"}'),
        ('{"token": "' + "abcdefghij1234567890" + '"}', '{"token": "REDACTED"}'),
        ('"' + "sk-" + "proj-" + "A1" * 10 + '"', '"REDACTED"'),
    ],
)
def test_a_secret_is_told_by_what_stands_before_it(text: str, redacted: str) -> None:
    """A scheme, a name, a place in a URL."""
    assert BY_LOOKS.text(text) == redacted
    assert [finding.line for finding in BY_LOOKS.remains(text)] == [1]


FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda value: value,
    "URL-quoted": lambda value: quote(value, safe=""),
    "URL-quoted in lower case": lambda value: quote(value, safe="").replace("%2F", "%2f"),
    "JSON": lambda value: json.dumps(value)[1:-1],
    "JSON in UTF-8": lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    "JSON with escaped slashes": lambda value: json.dumps(value)[1:-1].replace("/", "\\/"),
    "hex": lambda value: value.encode().hex(),
    "HEX": lambda value: value.encode().hex().upper(),
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "base64 of user:value": lambda value: base64.b64encode(b"user:" + value.encode()).decode(),
    "base64 within more": lambda value: base64.b64encode(b"ab" + value.encode() + b"xyz").decode(),
    "base64 for URLs": lambda value: base64.urlsafe_b64encode(b"a" + value.encode()).decode(),
}


@settings(deadline=None)
@given(value=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=8).map(lambda text: f"{text}7q"))
@example(value='q"ä/\\ü +&7q')
def test_a_value_of_the_environment_is_found_in_every_form(value: str) -> None:
    """In each form in which it may be sent, none of it stays, and the name of the variable is told."""
    if is_ordinary(value.strip()):
        return
    redactor = Redactor(environment={"MY_API_KEY": value})
    for name, form in FORMS.items():
        sent = form(value.strip())
        kept = redactor.text(f"it is <{sent}>, ok?")
        assert sent not in kept, name
        assert "REDACTED" in kept, name
        assert any("$MY_API_KEY" in finding.kind for finding in redactor.remains(f"<{sent}>")), name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_API_KEY", "letters7"),
        ("GITHUB_TOKEN", "abcdefg-hijklmn"),
        ("APP_SECRET_BASE", "x1y2z3w4"),
        ("PGPASSWORD", "correct horse battery"),
        ("api_key", "lower-case-7"),
        ("AWS_SECRET_ACCESS_KEY", "/" + "aB3" * 13),
        ("OPENAI_ORG_ID", "acme-corp"),
        ("PIN_PASSWORD", "1234567890"),
        ("API_KEYS", "first-key-1,second-key-2"),
    ],
)
def test_a_variable_named_like_a_secret_is_one(name: str, value: str) -> None:
    """Each of its values, where it holds several."""
    redactor = Redactor(environment={name: value})
    for part in value.split(","):
        assert part not in redactor.text(f"x {part} y")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_API_KEY", "short"),
        ("SECRET_BACKEND", "vault-production-7"),
        ("SECRET_NAME", "app/prod/openai"),
        ("KEY_MODE", "disabled"),
        ("MAX_TOKENS", "100000"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/home/me/keys/service-account.json"),
        ("KEY_FILE", "secrets7/key.pem"),
        ("TOKEN", "./tokens/first"),
        ("MODEL", "gpt-5-nano-2025-08-07"),
        ("HOME", "/home/somebody"),
        ("API_KEY", "REDACTED"),
        ("TOKEN_URL", "https://auth.example/oauth/token"),
        ("DATABASE_URL", "postgres://[broken@x"),
        ("DATABASE_URL", "postgres://me@db.internal/app"),
    ],
)
def test_other_variables_are_left_alone(name: str, value: str) -> None:
    """Words, paths, numbers of tokens, addresses, and what no name calls a secret."""
    text = f"x {value} y"
    assert Redactor(environment={name: value}).text(text) in (text, re.sub("//.*@", "//REDACTED@", text))


def test_the_password_of_a_url_is_a_secret_whatever_its_variable_is_called() -> None:
    """Decoded, as it is sent elsewhere."""
    redactor = Redactor(environment={"BROKER": "amqp://me:pa%2Fss-word1@host/"})
    assert redactor.text("it is pa/ss-word1") == "it is REDACTED"


@pytest.mark.parametrize("name", ["KEYBOARD", "TURKEYS_HOME", "PATH", "TOKENIZER", "PATTERN"])
def test_a_name_is_read_by_its_words(name: str) -> None:
    """KEY in KEYBOARD is no key."""
    assert names_a_secret_variable(name) is (name == "TURKEYS_HOME")


def test_patterns_of_the_settings_are_secrets_too() -> None:
    """All of a match, or its group `secret`."""
    redactor = Redactor(patterns=(r"ACME-\d{4}", r"employee (?P<secret>\w+)"))
    assert redactor.text("ACME-1234 of employee Smith") == "REDACTED of employee REDACTED"
    assert redactor.remains("\nACME-1234") == [Finding(kind="pattern 'ACME-\\\\d{4}'", line=2)]


@pytest.mark.parametrize("pattern", ["[A-Z]{4}", "DACT", "RED", ".", "E", "REDACTED", ""])
def test_a_pattern_that_matches_the_word_in_place_of_secrets_does_not_go_on_for_ever(pattern: str) -> None:
    """What is REDACTED already is left alone."""
    redactor = Redactor(patterns=(pattern,))
    once = redactor.text("ABCD sees REDACTED and E")
    assert redactor.text(once) == once
    assert "REDACTED" in once


TEXTS = st.lists(
    st.sampled_from([*KINDS.values(), *ENVIRONMENT.values(), *look_alikes(), "REDACTED", "Bearer ", "api_key=", "sk-"])
    | st.text(max_size=6)
    | st.sampled_from(
        ["://", "@", '"', "'", "\\", "\\n", ":", "=", "{", "}", "[", "]", ",", " ", "\n", "data: ", "password"]
    ),
    max_size=8,
).map("".join)


@settings(deadline=None)
@given(text=TEXTS)
def test_redacting_twice_changes_nothing(text: str) -> None:
    """A law: any text, with secrets, look-alikes and the word REDACTED in any order."""
    once = REDACTOR.text(text)
    assert REDACTOR.text(once) == once
    assert REDACTOR.url(REDACTOR.url(text)) == REDACTOR.url(text)


@settings(deadline=None)
@given(before=st.text(max_size=10), secret=st.sampled_from([*KINDS.values()]), after=st.text(max_size=10))
def test_it_does_not_matter_how_a_secret_is_found(before: str, secret: str, after: str) -> None:
    """By its looks, by its value or by both, the same text is left: so a recording matches where the key is another."""
    both = Redactor(environment={"SOME_API_KEY": secret})
    text = f"{before} {secret} {after}"
    assert both.text(text) == BY_LOOKS.text(text)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(
        [*KINDS.values(), *ENVIRONMENT.values(), '{"password": "x"}', "Bearer abcdefgh1", "a\\/b", "REDACTED"]
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=5) | st.sampled_from(["api_key", "password", "token", OPENAI]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


def shape(value: object) -> object:
    """A document without its scalars."""
    if isinstance(value, list):
        return [shape(each) for each in value]
    if isinstance(value, Pairs):
        return [("{}", shape(each)) for _, each in value.pairs]
    return None


class Pairs:
    """An object of JSON, in which a name may come twice."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        """As they stand."""
        self.pairs = pairs


@settings(deadline=None)
@given(document=JSON, ascii_only=st.booleans(), indent=st.sampled_from([None, 2]))
def test_json_stays_json_of_the_same_structure(document: object, ascii_only: bool, indent: int | None) -> None:
    """A law: whatever is cut out of it, however it is written."""
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    kept = REDACTOR.text(text)
    assert shape(json.loads(kept, object_pairs_hook=Pairs)) == shape(json.loads(text, object_pairs_hook=Pairs))
    assert OPENAI not in kept
    assert REDACTOR.remains(kept) == []


def test_json_is_the_same_byte_by_byte_outside_of_secrets() -> None:
    """Spaces, escapes, the order of names and the form of numbers stay as they were."""
    text = '{ "b" : "\\u00e9\\/\\n", "a":1.50e3,\t"k": "x\\u0020' + OPENAI + '\\u00e9" }'
    assert BY_LOOKS.text(text) == '{ "b" : "\\u00e9\\/\\n", "a":1.50e3,\t"k": "x\\u0020REDACTED\\u00e9" }'


def test_json_that_is_nested_too_deep_to_read_is_searched_as_text() -> None:
    """It cannot be parsed, and hides nothing all the same."""
    assert OPENAI not in BY_LOOKS.text("[" * 100_000 + f'"{OPENAI}"')


def test_a_wrong_escape_does_not_hide_a_secret() -> None:
    """JSON that is broken is searched as text."""
    assert OPENAI not in BY_LOOKS.text(f'{{"a": "\\x {OPENAI}"')


def test_a_text_without_secrets_costs_next_to_nothing() -> None:
    """Every replayed request is looked through: a clean kB takes some 15 microseconds, and 10 times that fails."""
    text = json.dumps({"model": "gpt-5-nano", "messages": [{"role": "user", "content": "The quick brown fox. " * 45}]})
    assert REDACTOR.text(text) is text
    best = min(timeit.repeat(lambda: REDACTOR.text(text), number=200, repeat=5)) / 200
    assert best < 150e-6


@pytest.mark.parametrize(
    "text",
    [
        "cookie:" * 9000,
        '"password":"' * 3000,
        "-----BEGIN " * 3000,
        "://" * 9000 + "@",
        "eyJ" * 9000,
        "api_key " * 9000,
    ],
    ids=lambda text: text[:8],
)
def test_no_text_takes_for_ever(text: str) -> None:
    """Patterns do not go back and forth in a text that begins a thousand secrets and ends none."""
    assert timeit.timeit(lambda: BY_LOOKS.text(text), number=1) < 5


def test_a_finding_says_what_and_where_and_never_shows_the_secret() -> None:
    """In any text, by the line."""
    secret = made_up("finding", 40)
    redactor = Redactor(environment={"MISTRAL_API_KEY": secret, "MODEL_KEY": OPENAI[:-20]})
    found = redactor.remains(f"one\ntwo {OPENAI}\nthree {secret} {secret}\n")
    assert found == [Finding(kind="value of $MODEL_KEY", line=2), Finding(kind="value of $MISTRAL_API_KEY", line=3)]
    assert secret not in repr(found)
