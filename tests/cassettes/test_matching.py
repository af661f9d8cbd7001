"""Which requests are equal."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from threading import Thread
from time import process_time
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_modelroute.cassettes.interaction import RecordedRequest
from pytest_modelroute.cassettes.json_paths import parse_path, write_path
from pytest_modelroute.cassettes.matching import Matching
from pytest_modelroute.errors import CassetteError

URL = "https://api.openai.com/v1/chat/completions"
FORM = "application/x-www-form-urlencoded"

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
bodies = st.dictionaries(st.text(max_size=4), values, max_size=5) | st.lists(values, max_size=5)
texts = st.text(st.characters(codec="utf-8"), max_size=6)


def asked(
    body: bytes | str = b"", *, url: str = URL, method: str = "POST", content_type: str = "application/json"
) -> RecordedRequest:
    """A request as a client sends it."""
    data = body.encode() if isinstance(body, str) else body
    return RecordedRequest(method=method, url=url, headers=(("Content-Type", content_type),), body=data)


def key(body: bytes | str = b"", **given: Any) -> str:
    """Its key, where nothing is ignored."""
    return Matching().key(asked(body, **given))


def shuffled(value: Any, order: random.Random) -> Any:
    """The same JSON with its members in another order."""
    if isinstance(value, dict):
        names = list(value)
        order.shuffle(names)
        return {name: shuffled(value[name], order) for name in names}
    return [shuffled(each, order) for each in value] if isinstance(value, list) else value


def meaning(value: Any) -> Any:
    """What a JSON value means: true is not 1, and 1 is 1.0; written without the code under test."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return (type(value).__name__, value)
    if isinstance(value, dict):
        return ("object", tuple(sorted((name, meaning(each)) for name, each in value.items())))
    if isinstance(value, list):
        return ("array", tuple(meaning(each) for each in value))
    return ("number", value)


@given(bodies, st.randoms(use_true_random=False), st.sampled_from([None, 0, 3]), st.booleans())
def test_order_of_members_whitespace_and_escapes_do_not_count(
    body: Any, order: random.Random, indent: int | None, ascii_only: bool
) -> None:
    """However a client writes its JSON, the request is the same."""
    first = json.dumps(body, separators=(",", ":"))
    other = json.dumps(shuffled(body, order), indent=indent, ensure_ascii=ascii_only)
    try:
        sent = other.encode()
    except UnicodeEncodeError:  # a lone surrogate can only be sent as an escape
        assume(False)
    assert key(first) == key(b" \n" + sent + b"\n")


@given(bodies, bodies)
def test_json_of_another_meaning_has_another_key(one: Any, other: Any) -> None:
    """Two requests have one key where their JSON is equal, and nowhere else."""
    assert (key(json.dumps(one)) == key(json.dumps(other))) == (meaning(one) == meaning(other))


@given(bodies, st.data())
def test_any_change_of_a_value_changes_the_key(body: Any, data: st.DataObject) -> None:
    """One leaf that differs is enough."""
    changed = json.loads(json.dumps(body))
    holder: Any = changed
    places: list[tuple[Any, Any]] = []
    stack = [holder]
    while stack:
        inner = stack.pop()
        for name in inner if isinstance(inner, dict) else range(len(inner)):
            places.append((inner, name))
            if isinstance(inner[name], dict | list):
                stack.append(inner[name])
    assume(places)
    where, name = data.draw(st.sampled_from(places))
    new = data.draw(values)
    assume(meaning(new) != meaning(where[name]))
    where[name] = new
    assert key(json.dumps(body)) != key(json.dumps(changed))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "1.0"),
        ("1", "10e-1"),
        ("0", "-0.0"),
        ("0", "0e99999"),
        ("1.5", "1.50"),
        ("1e2", "100"),
        ("1e400", "1" + "0" * 400),
        ("1e5000", "10e4999"),
        ("0.10000000000000000000001", "1.0000000000000000000001e-1"),
        ("123456789012345678901234567890", "123456789012345678901234567890.0"),
        ('"\\u00e9"', '"é"'),
        ('"\\/"', '"/"'),
        ('{"a": 1, "a": 2}', '{"a": 2}'),
    ],
)
def test_what_means_the_same_is_equal(one: str, other: str) -> None:
    """Numbers are compared by value, texts without their escapes, and of members of one name the last counts."""
    assert key(f'{{"x": {one}}}') == key(f'{{"x":{other}}}')


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "true"),
        ("0", "false"),
        ("0", "null"),
        ("1", '"1"'),
        ("9007199254740992", "9007199254740993"),
        ("9007199254740992.0", "9007199254740993.0"),
        ("0.1", "0.10000000000000000000001"),
        ("1e400", "1e401"),
        ("1e5000", "1e5001"),
        ("-1e5000", "1e5000"),
        ("[1.00000000000000000001, null]", "[null, 1.00000000000000000001]"),
        ("[1, 2]", "[2, 1]"),
        ("[]", "{}"),
        ('"é"', '"e\u0301"'),
    ],
)
def test_what_means_something_else_is_not_equal(one: str, other: str) -> None:
    """Numbers are compared exactly, and no type is taken for another."""
    assert key(f'{{"x": {one}}}') != key(f'{{"x": {other}}}')


@pytest.mark.parametrize(
    "body",
    [
        b'{"x": NaN}',
        b'{"x": -Infinity}',
        b'{"x": 1',
        b'{"x": 1} {"x": 2}',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"{" + b"9" * 5000 + b"}",
        b'{"x": ' + b"9" * 5000 + b"}",
        b'{"x": 1e99999999999999999999999999}',
        b'{"x": "\xff"}',
        b'\xef\xbb\xbf{"x": 1}',
        b"not json",
    ],
    ids=lambda body: body[:12].decode("latin-1"),
)
def test_what_cannot_be_read_counts_byte_for_byte(body: bytes) -> None:
    """No body crashes the matching; one that is no JSON is equal to itself alone."""
    assert key(body) == key(bytes(body))
    assert key(body) != key(body + b" ")


@pytest.mark.parametrize("content_type", ["application/octet-stream", "", FORM])
def test_json_is_known_by_its_looks(content_type: str) -> None:
    """Clients send JSON under other names, or under none."""
    one = key('{"a": 1, "b": 2}', content_type=content_type)
    assert one == key('{"b":2,"a":1}', content_type="application/vnd.api+json; charset=utf-8")


def test_a_json_scalar_is_known_by_its_content_type() -> None:
    """It looks like any text."""
    assert key("1.0") == key("1")
    assert key("1.0", content_type="text/plain") != key("1", content_type="text/plain")


def test_an_empty_body_is_no_body() -> None:
    """Whatever content type is named."""
    bare = RecordedRequest(method="POST", url=URL)
    assert Matching().key(bare) == key(b"") == key(b"", content_type="text/plain")
    assert key(b"") != key(b"{}")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://api.openai.com/v1", "HTTPS://API.OpenAI.com:443/v1"),
        ("http://127.0.0.1/v1", "http://127.0.0.1:80/v1"),
        ("https://h", "https://h/"),
        ("https://h/a%20b", "https://h/a b"),
        ("https://h/model/claude%3a0", "https://h/model/claude:0"),
        ("https://h/%7euser", "https://h/~user"),
        ("https://h/é", "https://h/%C3%A9"),
        ("https://h/p?a=1&b=2", "https://h/p?b=2&a=1"),
        ("https://h/p?a=x+y", "https://h/p?a=x%20y"),
        ("https://h/p?a", "https://h/p?a="),
        ("https://h/p?", "https://h/p"),
        ("https://h/p#there", "https://h/p"),
        ("https://h/p?key=REDACTED&a=1", "https://h/p?a=1&key=REDACTED"),
    ],
)
def test_addresses_that_mean_the_same_are_equal(one: str, other: str) -> None:
    """Case of the host, a port that goes without saying, percent-encoding and the order of parameters do not count."""
    assert key(url=one) == key(url=other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://h/v1", "http://h/v1"),
        ("https://h/v1", "https://h:8443/v1"),
        ("https://h:80/v1", "https://h/v1"),
        ("https://h/v1", "https://g/v1"),
        ("https://h/V1", "https://h/v1"),
        ("https://h/v1/", "https://h/v1"),
        ("https://h/a%2Fb", "https://h/a/b"),
        ("https://h/p?a=1&a=2", "https://h/p?a=2&a=1"),
        ("https://h/p?a=1", "https://h/p"),
        ("https://h/p?a=x%2By", "https://h/p?a=x+y"),
        ("https://h/p?a=%FF", "https://h/p?a=%FE"),
        ("https://h/p?a=%26b", "https://h/p?a=&b"),
        ("https://h:port/v1", "https://h:other/v1"),
        ("https://[h/v1", "https://[g/v1"),
    ],
)
def test_addresses_that_mean_something_else_are_not_equal(one: str, other: str) -> None:
    """Scheme, host, port, path and every parameter count."""
    assert key(url=one) != key(url=other)


def test_the_method_counts_in_capitals() -> None:
    """A GET is no POST; `post` is what a client makes a POST of."""
    assert key(method="GET") != key()
    assert key(method="post") == key()


@given(st.lists(st.tuples(st.sampled_from("abc"), texts), max_size=6), st.randoms(use_true_random=False))
@pytest.mark.parametrize("where", ["query", "form"])
def test_the_order_of_fields_counts_only_within_a_name(
    where: str, fields: list[tuple[str, str]], order: random.Random
) -> None:
    """A field of another name may stand anywhere."""
    names = [name for name, _ in fields]
    order.shuffle(names)
    queues = {name: iter([value for other, value in fields if other == name]) for name in names}
    moved = [(name, next(queues[name])) for name in names]
    one, other = (
        key(url=f"{URL}?{urlencode(each)}") if where == "query" else key(urlencode(each), content_type=FORM)
        for each in (fields, moved)
    )
    assert one == other


@given(*[st.lists(st.tuples(texts, texts), max_size=4)] * 2)
def test_forms_of_other_fields_have_other_keys(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
    """Nothing within a name or a value is taken for the end of it."""
    kept, also = sorted(one, key=lambda pair: pair[0]), sorted(other, key=lambda pair: pair[0])
    assume(all(name or value for name, value in [*one, *other]))
    assert (key(urlencode(one), content_type=FORM) == key(urlencode(other), content_type=FORM)) == (kept == also)


@given(texts.filter(bool))
def test_a_path_is_equal_however_it_is_encoded(segment: str) -> None:
    """Some clients encode what others leave as it is."""
    assume(not set(segment) & set("/?#%[]\\\t\r\n"))
    assume(segment not in (".", "..") and segment == segment.strip())
    every = "".join(f"%{byte:02x}" for byte in segment.encode())
    assert key(url=f"https://h/{quote(segment)}/x") == key(url=f"https://h/{every}/x")


def multipart(boundary: str, *parts: str) -> bytes:
    """A body as the clients of providers upload files with."""
    head = 'Content-Disposition: form-data; name="x"'
    return (
        "".join(f"--{boundary}\r\n{head}\r\n\r\n{part}\r\n" for part in parts).encode() + f"--{boundary}--\r\n".encode()
    )


boundaries = st.text("0123456789abcdef", min_size=16, max_size=32)


@given(*[st.lists(st.text("ab-\r\n", max_size=5), min_size=1, max_size=3)] * 2, boundaries, boundaries, st.booleans())
def test_the_boundary_of_a_multipart_body_does_not_count(
    one: list[str], other: list[str], first: str, second: str, quoted: bool
) -> None:
    """It is random; the parts count, byte for byte."""
    mark = '"' if quoted else ""
    keys = [
        key(multipart(boundary, *parts), content_type=f"multipart/form-data; boundary={mark}{boundary}{mark}")
        for boundary, parts in ((first, one), (second, other))
    ]
    assert (keys[0] == keys[1]) == (one == other)


def test_a_boundary_is_found_in_a_body_whose_header_was_not_kept() -> None:
    """Other tools may have dropped it."""
    bodies = [multipart(boundary, "hello") for boundary in ("aaa111", "bbb222")]
    assert key(bodies[0], content_type="") == key(bodies[1], content_type="multipart/form-data; boundary=bbb222")


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=x", "text/plain"])
def test_a_body_without_its_boundary_counts_byte_for_byte(content_type: str) -> None:
    """There is nothing to read."""
    assert key(b"--y\r\nhello", content_type=content_type) != key(b"--z\r\nhello", content_type=content_type)


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", ""])
def test_anything_else_counts_byte_for_byte(content_type: str) -> None:
    """Text and bytes have one way of being written."""
    assert key(b"a=1&b=2", content_type=content_type) != key(b"b=2&a=1", content_type=content_type)


IGNORED = ("$.user", "$.metadata.*", "$.messages[*].id", "$['a b']", '$["it\'s"]', "$.parts[0]", "$.tags[*]", "$.n.*.t")


@given(st.data())
def test_what_is_ignored_does_not_count(data: st.DataObject) -> None:
    """Whatever stands at an ignored path, or nothing, the request is the same."""

    def body() -> dict[str, Any]:
        some: dict[str, Any] = {
            "model": "gpt-5",
            "metadata": data.draw(st.dictionaries(texts, values, max_size=2)),
            "messages": [{"content": "hi", **({"id": data.draw(values)} if data.draw(st.booleans()) else {})}, "text"],
            "parts": [data.draw(values), "kept"],
            "tags": data.draw(st.lists(values, max_size=2)),
            "n": {"x": {"t": data.draw(values), "kept": 1}, "y": [1]},
        }
        for name in ("user", "a b", "it's"):
            if data.draw(st.booleans()):
                some[name] = data.draw(values)
        return some

    matching = Matching(ignore_paths=IGNORED)
    assert matching.key(asked(json.dumps(body()))) == matching.key(asked(json.dumps(body())))


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "gpt-5-mini"},
        {"metadata": 1},
        {"messages": [{"content": "ho", "id": 1}]},
        {"users": "x"},
        {"parts": [1, 3]},
        {"n": {"x": {"t": 1, "u": 1}}},
    ],
    ids=str,
)
def test_what_is_not_ignored_counts(changed: dict[str, Any]) -> None:
    """The neighbours of an ignored place are as they were."""
    body = {"model": "gpt-5", "metadata": {"a": 1}, "messages": [{"content": "hi", "id": 1}], "parts": [1, 2], "n": {}}
    matching = Matching(ignore_paths=IGNORED)
    assert matching.key(asked(json.dumps(body))) != matching.key(asked(json.dumps(body | changed)))


def test_ignored_parameters_do_not_count() -> None:
    """By their decoded names."""
    matching = Matching(ignore_query=["ts", "a b"])
    keys = [matching.key(asked(url=f"https://h/p?x=1{rest}")) for rest in ("", "&ts=1", "&ts=2&ts=3&a%20b=4&a+b=5")]
    assert len(set(keys)) == 1
    assert matching.key(asked(url="https://h/p?x=1&TS=1")) != keys[0]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "user",
        ".user",
        "$",
        "$user",
        "$..id",
        "$.",
        "$.messages[",
        "$.messages[-1]",
        "$.a b",
        "$.x[*",
        "$[a]",
        "$.*x",
        7,
    ],
)
def test_a_path_that_is_none_is_an_error_that_shows_one(path: Any) -> None:
    """A misspelt path would ignore nothing in silence."""
    with pytest.raises(CassetteError) as raised:
        Matching(ignore_paths=[path])
    whole = " (the whole body, without which all requests would be equal)" if path == "$" else ""
    assert str(raised.value) == (
        f"ignore_paths: {path!r}{whole} is no path into a JSON body. A path begins with $ and goes on with .name, "
        "['any name'], [0], .* for every member or [*] for every element: $.user, $.metadata.*, $.messages[*].id"
    )


@given(st.lists(st.integers(0, 99) | st.text(min_size=1).filter(lambda name: "'" not in name), min_size=1, max_size=4))
def test_a_written_path_is_read_back(place: list[str | int]) -> None:
    """What a message shows can be put into the settings."""
    assert parse_path(write_path(place)) == tuple(place)


@pytest.mark.parametrize("path", ["$.metadata.*", "$.messages[*].id", '$["it\'s"]', "$[0].x"])
def test_a_path_is_written_as_it_is_read(path: str) -> None:
    """Patterns too."""
    assert write_path(parse_path(path)) == path


@pytest.mark.parametrize(
    ("path", "place", "covered"),
    [
        ("$.a", ("a",), True),
        ("$.a", ("a", "b", 0), True),
        ("$.a.b", ("a",), False),
        ("$.a.*", ("a", "b"), True),
        ("$.a.*", ("a", 0), False),
        ("$.a[*]", ("a", 0), True),
        ("$.a[*]", ("a", "0"), False),
        ("$.a[1]", ("a", 0), False),
    ],
)
def test_a_place_is_told_to_be_ignored(path: str, place: tuple[str | int, ...], covered: bool) -> None:
    """As it is in keys: what stands inside of an ignored place is ignored with it."""
    assert Matching(ignore_paths=[path]).ignores(place) is covered


def test_the_fingerprint_tells_settings_apart_that_give_other_keys() -> None:
    """A cache of keys is void under other settings, and only then."""
    made: list[Callable[[], Matching]] = [
        Matching,
        lambda: Matching(ignore_paths=["$.user"]),
        lambda: Matching(ignore_query=["$.user"]),
        lambda: Matching(ignore_paths=["$.user", "$.id"]),
        lambda: Matching(ignore_paths=["$['0']"]),
        lambda: Matching(ignore_paths=["$[0]"]),
    ]
    fingerprints = [make().fingerprint for make in made]
    assert len(set(fingerprints)) == len(made)
    assert [make().fingerprint for make in made] == fingerprints
    assert Matching(ignore_paths=["$['id']", "$.user"]).fingerprint == fingerprints[3]


def test_a_key_is_32_hex_digits_and_stays_as_it_is() -> None:
    """Caches on disk hold it: another way of making keys is another version."""
    body = '{"model": "gpt-5", "temperature": 0.5, "messages": [{"role": "user", "content": "hi"}]}'
    assert key(body) == "1c5d377943faeb36ee3bcd2c11e5fbed"


def test_threads_may_share_a_matching() -> None:
    """Several clients of a test ask at once."""
    matching = Matching()
    requests = [asked(json.dumps({"n": number, "x": number + math.pi})) for number in range(200)]
    expected = [matching.key(request) for request in requests]
    found: list[list[str]] = []
    threads = [Thread(target=lambda: found.append([matching.key(request) for request in requests])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8


def test_a_key_of_a_chat_request_takes_microseconds() -> None:
    """25 are meant for 1 kB; ten times as many is what a busy machine may take."""
    body = json.dumps({"model": "gpt-5", "temperature": 0.2, "messages": [{"role": "user", "content": "word " * 180}]})
    matching, request = Matching(ignore_paths=["$.metadata.*"]), asked(body)
    began = process_time()
    for _ in range(2000):
        matching.key(request)
    assert (process_time() - began) / 2000 < 250e-6
