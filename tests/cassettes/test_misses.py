"""What is said of a request that no recorded call answers."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from decimal import Decimal
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelroute.cassettes.differences import ABSENT, json_diff, read_json, request_diff
from pytest_modelroute.cassettes.interaction import RecordedRequest
from pytest_modelroute.cassettes.matching import Matching
from pytest_modelroute.cassettes.misses import Miss, Searched, describe_miss
from pytest_modelroute.cassettes.nearest import nearest
from pytest_modelroute.cassettes.volatile import kind_between, kind_of

OPENAI = "https://api.openai.com/v1/chat/completions"
ANTHROPIC = "https://api.anthropic.com/v1/messages"
COMMAND = "pytest tests/test_support.py::test_triage --modelroute-record=new"
FORM = "application/x-www-form-urlencoded"
UUIDS = ("2b335305-585e-4327-8bef-2b1e7f268719", "023490a3-fa06-43c9-855f-f77d274e59c9")


def chat(
    prompt: str = "Where is my parcel?", model: str = "gpt-5", *, url: str = OPENAI, **more: Any
) -> RecordedRequest:
    """A request as the openai client sends it."""
    return sent(json.dumps({"model": model, "messages": [{"role": "user", "content": prompt}], **more}), url=url)


def sent(
    body: str | bytes, *, url: str = OPENAI, method: str = "POST", kind: str = "application/json"
) -> RecordedRequest:
    """Any request."""
    data = body.encode() if isinstance(body, str) else body
    return RecordedRequest(method=method, url=url, headers=(("content-type", kind),), body=data)


def told(
    miss: RecordedRequest | Miss,
    recorded: Sequence[RecordedRequest] = (),
    *,
    exists: bool = True,
    secret: str = "",
    ignore_paths: Sequence[str] = (),
) -> str:
    """The message of a miss."""
    lines = [3 + 20 * number for number in range(len(recorded))]
    searched = Searched(path="cassettes/test_support/test_triage.yaml", requests=recorded, lines=lines, exists=exists)
    return describe_miss(
        miss if isinstance(miss, Miss) else Miss(request=miss),
        searched,
        command=COMMAND,
        redact=lambda text: text.replace(secret, "REDACTED") if secret else text,
        matching=Matching(ignore_paths=ignore_paths),
    )


def hints(miss: RecordedRequest, *recorded: RecordedRequest) -> list[str]:
    """What the message says between the differences and the command."""
    lines = told(miss, recorded).splitlines()
    return [
        line
        for line in lines[lines.index(next(line for line in lines if "the nearest" in line)) + 1 : -1]
        if line[0] != " "
    ]


def test_a_miss_says_what_was_asked_what_is_nearest_and_what_to_do() -> None:
    """The verdict first, the command last."""
    miss = Miss(
        request=chat("Where is my parcel, please?"),
        model="gpt-5",
        prompt="Where is my parcel, please?",
        step="triage",
        case="parcel-1",
        site="app/support.py:12, in triage: client.chat.completions.create(",
    )
    assert told(miss, [chat("Cancel my order"), chat()]) == (
        "no recorded call answers this request:\n"
        "  POST https://api.openai.com/v1/chat/completions  model 'gpt-5'  step 'triage'  case 'parcel-1'\n"
        "  prompt: 'Where is my parcel, please?'\n"
        "  called at app/support.py:12, in triage: client.chat.completions.create(\n"
        "cassette cassettes/test_support/test_triage.yaml holds 2 interactions\n"
        "the nearest recorded request is interaction 2 (line 23), with 1 difference:\n"
        '  changed $.messages[0].content: "Where is my parcel?" -> "Where is my parcel, please?"\n'
        f"To record it: {COMMAND}"
    )


def test_a_cassette_that_does_not_exist_is_said_to_be_missing() -> None:
    """There is nothing to compare with."""
    assert told(chat(), exists=False).splitlines()[2:] == [
        "there is no cassette cassettes/test_support/test_triage.yaml yet",
        f"To record it: {COMMAND}",
    ]


def test_an_empty_cassette_is_said_to_be_empty() -> None:
    """Nor is there here."""
    assert told(chat()).splitlines()[2:] == [
        "cassette cassettes/test_support/test_triage.yaml holds no interactions",
        f"To record it: {COMMAND}",
    ]


@pytest.mark.parametrize(("times", "often"), [(1, "once and was"), (3, "3 times and all were")])
def test_a_request_that_is_used_up_is_told_from_one_that_was_never_recorded(times: int, often: str) -> None:
    """The code makes the call more often than when it was recorded."""
    miss = Miss(request=chat(), replayed=times)
    assert told(miss, [chat()] * times).splitlines()[3] == (
        f"it was recorded {often} replayed already: the code now makes this call more often"
    )


def test_every_kind_of_difference_is_shown_by_its_path() -> None:
    """Changed, removed and added; numbers as they stand in the body, and true is not 1."""
    recorded = sent('{"a": 0.10000000000000000001, "b": true, "c": [1, {"d": 1.50}], "it\'s": null, "e f": "x"}')
    now = sent('{"a": 0.1, "b": 1, "c": {}, "e f": "y", "g": 12345678901234567890}')
    assert told(now, [recorded]).splitlines()[3:-1] == [
        "the nearest recorded request is interaction 1 (line 3), with 6 differences:",
        "  changed $.a: 0.10000000000000000001 -> 0.1",
        "  changed $.b: true -> 1",
        '  changed $.c: [1, {"d": 1.50}] -> {}',
        '  removed $["it\'s"]: null',
        '  changed $[\'e f\']: "x" -> "y"',
        "  added $.g: 12345678901234567890",
    ]


def test_no_more_differences_are_shown_than_a_reader_takes_in() -> None:
    """Twelve, and how many more there are."""
    lines = told(sent(json.dumps({f"p{number}": 1 for number in range(20)})), [sent("{}")]).splitlines()
    assert lines[-3:-1] == ["  added $.p11: 1", "  ... 8 more"]


def test_long_texts_are_shown_around_the_first_character_that_differs() -> None:
    """Twenty characters before it, forty from it on."""
    before, after = "a" * 500, "z" * 500
    line = told(chat(f"{before}X{after}"), [chat(f"{before}Y{after}")]).splitlines()[4]
    assert line == f'  changed $.messages[0].content: "...{"a" * 20}Y{"z" * 39}..." -> "...{"a" * 20}X{"z" * 39}..."'


def test_a_long_prompt_is_cut() -> None:
    """After a hundred characters."""
    assert told(Miss(request=chat(), prompt="a" * 101)).splitlines()[2] == f"  prompt: '{'a' * 100}...'"


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("a b", "a\u00a0b", '"a b" -> "a\\xa0b"'),
        ("caf\u00e9", "cafe\u0301", '"caf\\xe9" -> "cafe\\u0301"'),
        ("x", "\x1b[2Jx\u202e", '"x" -> "\\x1b[2Jx\\u202e"'),
        ("x", "a\nb\ud800", '"x" -> "a\\nb\\ud800"'),
    ],
    ids=["space", "accent", "terminal", "newline"],
)
def test_what_cannot_be_seen_is_escaped(old: str, new: str, shown: str) -> None:
    """Two texts that look alike are shown as two, and none moves the terminal."""
    assert told(chat(new), [chat(old)]).splitlines()[4] == f"  changed $.messages[0].content: {shown}"


def test_everything_shown_is_redacted_before_it_is_cut() -> None:
    """Half a secret looks like none."""
    secret = "sk-" + "x" * 45
    prompt = "p" * 80 + secret
    miss = Miss(
        request=chat(prompt, user=[secret], url=f"{OPENAI}?k={secret}"), prompt=prompt, site=f"a.py:1, in f: {secret}"
    )
    text = told(miss, [chat("other " + secret)], secret=secret)
    assert "sk-" not in text
    assert text.count("REDACTED") == 6


def test_a_difference_within_a_secret_is_not_shown() -> None:
    """Both are the same word in its place."""
    text = told(chat("sk-1 sk-1"), [chat("sk-1 REDACTED")], secret="sk-1")
    assert text.splitlines()[4] == "  changed $.messages[0].content: in what stands for a secret, which is never shown"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        UUIDS,
        ("2026-01-02", "2026-11-24"),
        ("2026-01-02T10:11:12.5Z", "2026-11-24T15:00:00+01:00"),
        (1767348672, 1795532400),
        (1767348672.25, 1795532400.5),
        ("1767348672123", "1795532400456"),
        ("run_9f8a7b6c5d4e3f2a", "run_0a1b2c3d4e5f6a7b"),
        ("01JDQ8Z9X5N6T7R8S9V0W1X2Y3", "01JDQ8Z9X5N6T7R8S9V0W1X2Y4"),
    ],
    ids=str,
)
def test_what_changes_from_run_to_run_can_be_ignored(old: object, new: object) -> None:
    """Ids, dates and times; the line can be put into the settings."""
    found = hints(chat(metadata={"run id": new}), chat(metadata={"run id": old}))
    line = """If this part changes from run to run: ignore_paths = ["$.metadata['run id']"] in """
    assert found == [f"{line}[tool.modelroute.recording]"]


def test_what_is_hinted_at_is_what_makes_the_requests_equal() -> None:
    """Every element of an array, since the next request has another number of them; parameters by name."""
    tools, ids = [[{"id": f"call_{digit}b2c3d4e5f6a7", "x": 1} for digit in digits] for digits in ("12", "34")], UUIDS
    recorded, now = (chat(url=f"{OPENAI}?ts={ids[at]}", calls=tools[at]) for at in (0, 1))
    assert hints(now, recorded) == [
        'If this part changes from run to run: ignore_paths = ["$.calls[*].id"] in [tool.modelroute.recording]',
        'If this part changes from run to run: ignore_query = ["ts"] in [tool.modelroute.recording]',
    ]
    matching = Matching(ignore_paths=["$.calls[*].id"], ignore_query=["ts"])
    assert matching.key(now) == matching.key(recorded)


def test_several_parts_are_ignored_in_one_line() -> None:
    """The settings hold one list."""
    assert hints(chat(a=UUIDS[0], b="2026-01-02"), chat(a=UUIDS[1], b="2026-01-03")) == [
        'If these parts change from run to run: ignore_paths = ["$.a", "$.b"] in [tool.modelroute.recording]'
    ]


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("Today is 2026-01-02. Hi", "Today is 2026-11-24. Hi", "date"),
        (f"Ticket {UUIDS[0]}", f"Ticket {UUIDS[1]}", "UUID"),
        ("It is 10:11:12 now", "It is 15:00:00 now", "time"),
        (UUIDS[0], UUIDS[1], "UUID"),
    ],
)
def test_a_prompt_is_never_ignored_for_the_date_in_it(old: str, new: str, kind: str) -> None:
    """The test gives the code a fixed one."""
    assert hints(chat(new), chat(old)) == [
        f"If the {kind} in $.messages[0].content changes from run to run, let the test give the code a fixed one"
    ]


@pytest.mark.parametrize(
    ("recorded", "now"),
    [
        (chat(a=UUIDS[0], b=1), chat(a=UUIDS[1], b=2)),
        (chat(a=UUIDS[0]), chat(a="2026-01-02")),
        (chat(a=UUIDS[0]), chat()),
        (chat("on 2026-01-02", "ft_9f8a7b6c5d4e3f2a"), chat("on 2026-01-03", "ft_0a1b2c3d4e5f6a7b")),
        (chat(n=1), chat(n=2)),
        (chat(a="internationalisation"), chat(a="internationalization")),
        (chat(a="gpt-4o-mini-2024-07-18"), chat(a="gpt-4o-mini-2024-07-19")),
        (sent(b"", method="GET", url="https://h/orders/1"), sent(b"", method="GET", url="https://h/orders/2")),
    ],
    ids=["another", "other kinds", "gone", "model", "number", "word", "name", "no body"],
)
def test_nothing_is_hinted_at_where_a_request_says_something_else(
    recorded: RecordedRequest, now: RecordedRequest
) -> None:
    """A hint that is wrong hides a change."""
    assert hints(now, recorded) == []


@pytest.mark.parametrize(
    ("now", "recorded"),
    [
        (chat(model="gpt-5"), chat(model="gpt-5-mini")),
        (chat(model="gpt-5", temperature=0), chat(model="gpt-5-mini", temperature=1)),
        (chat(model="claude-haiku-4-5", url=ANTHROPIC, max_tokens=9), chat(model="gpt-5-mini")),
        (
            sent(
                '{"contents": [{"parts": [{"text": "hi"}]}]}',
                url="https://h/v1beta/models/gemini-3-pro:generateContent",
            ),
            sent(
                '{"contents": [{"parts": [{"text": "hi"}]}]}', url="https://h/v1beta/models/gpt-5-mini:generateContent"
            ),
        ),
    ],
    ids=["model alone", "parameters", "provider", "model in the path"],
)
def test_the_same_prompt_for_another_model_is_another_route(now: RecordedRequest, recorded: RecordedRequest) -> None:
    """Whatever parameters the other model takes."""
    assert hints(now, recorded) == ["the same prompt was recorded for 'gpt-5-mini': another route was taken"]


@pytest.mark.parametrize(
    ("url", "another"),
    [
        ("https://eu.api.openai.com/v1/chat/completions", "host or base URL"),
        ("https://api.openai.com/v2/chat/completions", "path"),
    ],
)
def test_the_same_body_at_another_address_is_said_to_be_that(url: str, another: str) -> None:
    """A base URL that was changed."""
    assert hints(chat(url=url), chat()) == [
        f"the same body was recorded at {OPENAI}: this call goes to another {another}"
    ]


def test_ignored_paths_are_no_difference() -> None:
    """They do not tell requests apart."""
    text = told(chat("Where?", user="a"), [chat("There?", user="b")], ignore_paths=["$.user"])
    assert "with 1 difference:" in text


def test_nothing_nearest_is_named_by_a_line_that_is_not_known() -> None:
    """A cache may not know the lines."""
    searched = Searched(path="c.yaml", requests=[chat()])
    text = describe_miss(Miss(request=chat("?")), searched, command="x", redact=str, matching=Matching())
    assert "the nearest recorded request is interaction 1, with 1 difference:" in text


ROWS = [
    (sent("a=1&b=2&c=3", kind=FORM), sent("b=2&a=1&a=4&c=5", kind=FORM), [
        'added field a: "4"',
        'changed field c: "3" -> "5"',
    ]),
    (sent("", url="https://h/p?a=1&b=1", method="GET"), sent("", url="http://h:8080/q?b=2"), [
        'changed method: "GET" -> "POST"',
        'changed host: "https://h" -> "http://h:8080"',
        'changed path: "/p" -> "/q"',
        'removed query parameter a: "1"',
        'changed query parameter b: "1" -> "2"',
    ]),
    (sent("one", kind="text/plain"), sent("two", kind="text/plain"), ['changed body: "one" -> "two"']),
    (sent(b"\xff", kind="x/y"), sent(b"", kind="x/y"), ['removed body: "\\xff"']),
    (sent("1", kind="text/plain"), sent("1.0", kind="text/plain"), ['changed body: "1" -> "1.0"']),
    (sent('{"a": NaN}'), sent('{"a": 1}'), ['changed body: "{"a": NaN}" -> "{"a": 1}"']),
    (sent("{}", url="https://h:x/"), sent("{}", url="https://[h/"), ['changed url: "https://h:x/" -> "https://[h/"']),
    (
        sent(b"--a\r\nX: 1\r\n\r\none\r\n--a--\r\n", kind="multipart/mixed; boundary=a"),
        sent(b"--b\r\nX: 1\r\n\r\ntwo\r\n--b\r\n\r\nnew\r\n--b--\r\n", kind="multipart/mixed; boundary=b"),
        [
            r'changed part 1: "\r\nX: 1\r\n\r\none" -> "\r\nX: 1\r\n\r\ntwo"',
            r'added part 2: "\r\n\r\nnew"',
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("recorded", "now", "expected"), ROWS)
def test_requests_are_compared_in_what_they_are_made_of(
    recorded: RecordedRequest, now: RecordedRequest, expected: list[str]
) -> None:
    """Forms by field, multipart bodies by part, anything else as text."""
    assert [each.shown(str) for each in request_diff(recorded, now, Matching())] == expected


def test_bodies_nested_beyond_all_measure_do_not_crash() -> None:
    """They are compared as texts."""
    deep = ["[" * 700 + inner + "]" * 700 for inner in ("1", "2")]
    text = told(sent(deep[0]), [sent(deep[1])])
    assert "with 1 difference:" in text


def test_a_message_put_into_a_talk_is_one_difference() -> None:
    """What follows it has only moved."""
    old = [{"role": "user", "content": str(number)} for number in range(9)]
    new = [*old[:4], {"role": "system", "content": "new"}, *old[4:]]
    there, back = json_diff(old, new), json_diff(new, old)
    assert [(each.where, each.kind) for each in there] == [("$[4]", "added")]
    assert [(each.where, each.kind) for each in back] == [("$[4]", "removed")]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=4),
    max_leaves=10,
)


def same(old: Any, new: Any) -> bool:
    """Equality of JSON, written without the code under test."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(same(old[name], new[name]) for name in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(same, old, new))
    return isinstance(old, bool) == isinstance(new, bool) and bool(old == new)


@given(values, values)
def test_values_differ_where_a_difference_says_so_and_nowhere_else(old: Any, new: Any) -> None:
    """No difference is missed, and none is made up."""
    found = json_diff(old, new)
    assert (found == []) == same(old, new)
    for each in found:
        for root, value in ((old, each.old), (new, each.new)):
            if value is not ABSENT:
                for step in each.place or ():
                    root = root[step]  # noqa: PLW2901 - one step further
                assert root is value


@given(values)
def test_a_change_back_is_the_same_change_the_other_way(old: Any) -> None:
    """Removed for added, at the same places."""
    new = [old, "x"]
    there, back = json_diff([old], new), json_diff(new, [old])
    assert [(each.place, each.kind) for each in there] == [((1,), "added")]
    assert [(each.place, each.kind) for each in back] == [((1,), "removed")]


def test_numbers_are_read_as_they_stand_there() -> None:
    """No float comes between."""
    assert read_json(b"[0.10000000000000000001]") == [Decimal("0.10000000000000000001")]


def test_the_nearest_is_the_one_with_the_fewest_and_the_smallest_differences() -> None:
    """What changes from run to run weighs little, a prompt the more the more of its words are others."""
    asked = chat("How do I send the parcel back to you?", run=UUIDS[0])
    recorded = [
        chat("Cancel my order", run=UUIDS[0]),
        chat("How do I send the parcel back to them?", run=UUIDS[1]),
        chat("How do I send the parcel back to you?", run=UUIDS[1]),
        chat("How do I send the parcel back to you?", "gpt-5-nano", run=UUIDS[1]),
        chat("How do I send the parcel back to you?", run=UUIDS[0], url=ANTHROPIC, temperature=1, top_p=1, seed=4),
    ]
    assert [near.index for near in nearest(asked, recorded, 5)] == [2, 1, 3, 0, 4]


def test_no_candidate_is_no_neighbour() -> None:
    """And no crash."""
    assert nearest(chat(), []) == []


def test_the_end_of_a_long_talk_counts() -> None:
    """Its beginning is the same for all."""
    talks = [chat("system prompt " * 5000 + end) for end in ("apples and pears", "plums", "parcel")]
    assert nearest(chat("system prompt " * 5000 + "apples or pears"), talks)[0].index == 0


def test_ten_thousand_recordings_are_searched_in_a_second() -> None:
    """Even the one with a single word that differs is found among them."""
    order = random.Random(4)  # noqa: S311 - words for a test
    words = [f"word{number}" for number in range(500)]
    prompts = [" ".join(order.choices(words, k=120)) for _ in range(10_000)]
    recorded = [chat(prompt, f"gpt-{number % 3}") for number, prompt in enumerate(prompts)]
    asked = chat(prompts[7777].replace(" ", " new ", 1), "gpt-1")
    began = process_time()
    found = nearest(asked, recorded)
    assert found[0].index == 7777
    assert process_time() - began < 1.0


@pytest.mark.parametrize(
    "value", [True, None, 1, 12.5, "", "hello", "gpt-5-mini", "claude-haiku-4-5-20251001", [1], {}]
)
def test_what_stays_as_it_is_looks_like_no_id(value: object) -> None:
    """Names of models neither."""
    assert kind_of(value) is None


def test_equal_texts_differ_in_nothing() -> None:
    """Not even in the date that both hold."""
    assert kind_between("on 2026-01-02 we", "on 2026-01-02 we") is None
