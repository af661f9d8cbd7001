"""Verifiers: which answers will do, why the others will not, and what is a mistake in the verifier."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from pytest_modelroute import faults
from pytest_modelroute.errors import AnswerRejected, MissingExtra, SettingsError, VerifierFailed
from pytest_modelroute.providers.exchange import Usage
from pytest_modelroute.router import (
    Gate,
    JudgeGate,
    ModelClient,
    ModelRequest,
    ModelResponse,
    RequestContext,
    Ruling,
    follows_schema,
    has_length,
    matches,
    parses_as_json,
    parses_as_sql,
    verified_by,
)
from pytest_modelroute.router.calls import Clocks
from pytest_modelroute.router.gates import arule, rule
from pytest_modelroute.router.routine import Verify

if TYPE_CHECKING:
    from pytest_modelroute import MockProviders

REQUEST = ModelRequest(prompt="2+2?", system="Be brief.")
ORDER = {
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "integer"}, "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}}},
    "$defs": {"line": {"type": "string"}},
}


def _verify(gate: Gate, text: str) -> Verify:
    answer = ModelResponse(
        text=text,
        model="gpt-small",
        model_answered="gpt-small",
        usage=Usage(),
        finish_reason="stop",
        tool_calls=(),
        elapsed_s=0,
        attempts=1,
    )
    return Verify(gate, REQUEST, answer, RequestContext())


def _reason(gate: Gate, text: str) -> str | None:
    """Why an answer is rejected; None for one that is accepted."""
    ruling = rule(_verify(gate, text))
    assert isinstance(ruling, Ruling), ruling
    return None if ruling.accepted else ruling.reason


# JSON


@pytest.mark.parametrize("text", ['{"a": [1, null]}', " 1\n", '"a"', "[]"])
def test_json_will_do(text: str) -> None:
    """Any value, white space around it."""
    assert _reason(parses_as_json(), text) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ("{'a': 1}", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("```json\n{}\n```", "Expecting value: line 1 column 1 (char 0)"),
        ("{} Done!", "Extra data: line 1 column 4 (char 3)"),
        ("[NaN]", "NaN is no JSON"),
        ("-Infinity", "-Infinity is no JSON"),
    ],
)
def test_what_is_not_json_will_not(text: str, reason: str) -> None:
    """Nor what Python alone takes for it."""
    assert _reason(parses_as_json(), text) == f"it does not parse as JSON: {reason}"


def test_json_that_is_nested_too_deep_will_not() -> None:
    """It is a bad answer, and no crash."""
    assert str(_reason(parses_as_json(), "[" * 200_000)).startswith("it does not parse as JSON: ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"id": 7, "lines": ["a"]}', None),
        ('{"id": "7"}', "it does not follow the schema: $.id: \"'7' is not of type 'integer'\""),
        ("{}", "it does not follow the schema: $: \"'id' is a required property\""),
        ('{"id": 7, "lines": [1]}', "it does not follow the schema: $.lines[0]: \"1 is not of type 'string'\""),
        ("Order 7", "it does not parse as JSON: Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_a_schema_is_followed_or_not(text: str, reason: str | None) -> None:
    """The reason names the place."""
    assert _reason(follows_schema(ORDER), text) == reason


def test_a_schema_that_is_none_is_refused_at_once() -> None:
    """And not at the first answer."""
    with pytest.raises(ValueError, match=r"^follows_schema: this is no JSON schema: \$\.type: 'objekt' is not valid"):
        follows_schema({"type": "objekt"})


def test_a_reference_beyond_the_schema_is_a_mistake_and_not_fetched() -> None:
    """No answer can be judged by it."""
    gate = follows_schema({"$ref": "https://schemas.example/order.json"})
    failed = rule(_verify(gate, "{}"))
    assert isinstance(failed, VerifierFailed)
    assert "the verifier follows_schema failed" in str(failed)


# SQL


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "select a from t where b = 'c';",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET a = 1",
        "DELETE FROM t",
        "CREATE TABLE t (a INT)",
        "SELECT a UNION SELECT b",
        "SELECT 1; SELECT 2",
        "VALUES (1)",
    ],
)
def test_sql_will_do(text: str) -> None:
    """Statements that query or change something."""
    assert _reason(parses_as_sql(), text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";",
        "hello world",
        "42",
        "Call me later",
        "Explain it to me",
        "SELECT * FROM",
        "SELECT 'abc",
        "```sql\nSELECT 1\n```",
        "Here it is: SELECT 1",
        "SELECT 1; I hope this helps",
        "(" * 5_000,
    ],
)
def test_what_is_not_sql_will_not(text: str) -> None:
    """Nor prose that sqlglot reads as names or commands."""
    reason = str(_reason(parses_as_sql(), text))
    assert reason.startswith(("it does not parse as SQL: ", "it is no SQL statement: "))
    assert "\x1b" not in reason
    assert "\n" not in reason


def test_a_dialect_is_obeyed() -> None:
    """What one database takes, another does not."""
    assert _reason(parses_as_sql(dialect="mysql"), "SELECT `a` FROM t") is None
    assert _reason(parses_as_sql(dialect="postgres"), "SELECT `a` FROM t") is not None


def test_a_dialect_that_does_not_exist_is_refused_at_once() -> None:
    """By sqlglot's own words, which name the nearest."""
    with pytest.raises(ValueError, match="Unknown dialect 'postgress'"):
        parses_as_sql(dialect="postgress")


@pytest.mark.parametrize(
    ("make", "module", "told"),
    [
        (
            lambda: follows_schema({}),
            "jsonschema",
            "follows_schema needs jsonschema: pip install 'pytest-modelroute[schema]'",
        ),
        (parses_as_sql, "sqlglot", "parses_as_sql needs sqlglot: pip install 'pytest-modelroute[sql]'"),
    ],
    ids=["schema", "sql"],
)
def test_without_its_library_a_verifier_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], Gate], module: str, told: str
) -> None:
    """Where it is made, and not in the first request."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra) as error:
        make()
    assert str(error.value) == told


# Lengths and patterns


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("abc", None),
        (" abcde \n", None),
        ("ab ", "it has 2 characters, fewer than 3"),
        ("abcdef", "it has 6 characters, more than 5"),
    ],
)
def test_a_length_is_kept_or_not(text: str, reason: str | None) -> None:
    """Without the white space around the answer; both limits included."""
    assert _reason(has_length(at_least=3, at_most=5), text) == reason


@pytest.mark.parametrize("limits", [{}, {"at_least": -1}, {"at_least": 3, "at_most": 2}, {"at_most": -1}])
def test_limits_that_say_nothing_are_refused(limits: dict[str, int]) -> None:
    """They would accept every answer, or none."""
    with pytest.raises(ValueError, match=r"^has_length\(.*\): a number of characters, 0 or more, was expected"):
        has_length(**limits)


def test_a_pattern_is_found_or_not() -> None:
    """Anywhere; anchored it has to be the whole."""
    assert _reason(matches(r"\border \d+"), "It is order 7.") is None
    assert _reason(matches(r"\Aorder \d+\Z"), "It is order 7.") == r"'\\Aorder \\d+\\Z' is not found in it"


def test_a_pattern_that_is_none_is_refused() -> None:
    """At once, by name."""
    with pytest.raises(ValueError, match=r"^matches\('\('\): this is no regular expression: "):
        matches("(")


# Functions


def _has_total(text: str) -> bool:
    return "total" in text


@pytest.mark.parametrize(("text", "accepted"), [("total: 7", True), ("seven", False)])
def test_a_function_decides(text: str, accepted: bool) -> None:
    """By what it returns."""
    ruling = rule(_verify(verified_by(_has_total), text))
    assert isinstance(ruling, Ruling)
    assert ruling.accepted is accepted


def test_a_function_that_raises_the_rejection_gives_a_reason() -> None:
    """It is the same as False, with words."""

    def check(text: str) -> bool:
        raise AnswerRejected(f"{text} has no total")

    assert _reason(verified_by(check), "seven") == "seven has no total"


def _broken(text: str) -> bool:
    found: Any = text
    return bool(found["id"])


def _silent(text: str) -> None:
    """Forgets to return."""


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (
            _broken,
            "the verifier _broken failed over the answer of gpt-small, 'seven' (TypeError: string indices must be",
        ),
        (
            _silent,
            "the verifier _silent failed over the answer of gpt-small, 'seven' (TypeError: it returned None; True or",
        ),
    ],
)
def test_a_function_that_breaks_is_told_by_name(function: Callable[[str], Any], told: str) -> None:
    """It is a mistake in the harness, and no verdict on the answer."""
    failed = rule(_verify(verified_by(function), "seven"))
    assert isinstance(failed, VerifierFailed)
    assert str(failed).startswith(told)
    assert str(failed).endswith("to reject an answer, return False or raise AnswerRejected")
    assert failed.verifier == function.__name__
    assert isinstance(failed.__cause__, TypeError)


def test_a_verifier_goes_by_the_name_that_it_is_given() -> None:
    """A lambda has none that says anything."""
    failed = rule(_verify(verified_by(lambda _text: 1, name="totals"), "seven"))
    assert isinstance(failed, VerifierFailed)
    assert failed.verifier == "totals"


async def _later(text: str) -> bool:
    return _has_total(text)


def test_an_async_function_in_sync_code_says_where_it_belongs() -> None:
    """A coroutine is no verdict."""
    failed = rule(_verify(verified_by(_later), "total"))
    assert "(TypeError: it is async: route with aroute or astream)" in str(failed)


@pytest.mark.asyncio
async def test_a_future_in_sync_code_says_so_too() -> None:
    """Whatever is to be awaited is no verdict."""
    future = asyncio.get_running_loop().create_future()
    failed = rule(_verify(verified_by(lambda _text: future), "total"))
    assert "(TypeError: it is async: route with aroute or astream)" in str(failed)


@pytest.mark.asyncio
@pytest.mark.parametrize("function", [_has_total, _later])
async def test_async_code_takes_both_kinds_of_functions(function: Callable[[str], Any]) -> None:
    """And awaits what is to be awaited."""
    ruling = await arule(_verify(verified_by(function), "total"), Clocks())
    assert ruling == Ruling(accepted=True)


@pytest.mark.asyncio
async def test_a_function_that_breaks_in_async_code_is_told_alike() -> None:
    """With the same words."""
    assert str(await arule(_verify(verified_by(_broken), "seven"), Clocks())) == str(
        rule(_verify(verified_by(_broken), "seven"))
    )


@pytest.mark.parametrize("error", [SettingsError("no key"), MissingExtra("x", extra="x", needed_for="x")])
def test_an_error_of_the_set_up_is_raised_as_it_is(error: Exception) -> None:
    """It says itself what to do."""

    def check(_text: str) -> bool:
        raise error

    assert rule(_verify(verified_by(check), "seven")) is error


# A judge


@pytest.mark.parametrize("verdict", ["ACCEPT", " accept.\n", "**Accept**"])
def test_a_judge_accepts(mock_providers: MockProviders, client: ModelClient, verdict: str) -> None:
    """One word, whatever its case and padding."""
    mock_providers.on(model="gpt-judge").replies(verdict)
    assert _reason(JudgeGate(client, "judge"), "4") is None


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        ("REJECT", "the judge rejects it"),
        ("reject!", "the judge rejects it"),
        ("ACCEPTABLE", "the judge said 'ACCEPTABLE', neither ACCEPT nor REJECT"),
        ("I accept", "the judge said 'I accept', neither ACCEPT nor REJECT"),
        ("", "the judge said '', neither ACCEPT nor REJECT"),
    ],
)
def test_what_is_no_acceptance_rejects(
    mock_providers: MockProviders, client: ModelClient, verdict: str, reason: str
) -> None:
    """An unreadable verdict too."""
    mock_providers.on(model="gpt-judge").replies(verdict)
    assert _reason(JudgeGate(client, "judge"), "4") == reason


def test_a_judge_that_does_not_answer_rejects(mock_providers: MockProviders, client: ModelClient) -> None:
    """An outage lets nothing pass."""
    mock_providers.on(model="gpt-judge").fails(faults.authentication())
    assert str(_reason(JudgeGate(client, "judge"), "4")).startswith("the judge gave no verdict: gpt-judge answered 401")


@pytest.mark.asyncio
@pytest.mark.parametrize(("verdict", "accepted"), [("ACCEPT", True), (faults.authentication(), False)])
async def test_a_judge_serves_async_code(
    mock_providers: MockProviders, client: ModelClient, verdict: Any, accepted: bool
) -> None:
    """By the same rules."""
    mock_providers.otherwise(verdict)
    ruling = await arule(_verify(JudgeGate(client, "judge"), "4"), Clocks())
    await client.aclose()
    assert isinstance(ruling, Ruling)
    assert ruling.accepted is accepted


def test_a_judge_sees_what_was_asked_and_what_was_answered(mock_providers: MockProviders, client: ModelClient) -> None:
    """And what the application told the model."""
    mock_providers.on(model="gpt-judge").replies("ACCEPT")
    _reason(JudgeGate(client, "judge", instruction="ACCEPT or REJECT?"), "4")
    (call,) = mock_providers.calls
    assert call.prompt == "INSTRUCTIONS:\nBe brief.\n\nREQUEST:\n2+2?\n\nANSWER:\n4"
    assert call.request.messages[0].text == "ACCEPT or REJECT?"
